"""What planner and gateware share: the components of a pipeline, their timing and geometry, and the devices."""
