"""The architecture that planner and gateware share: components, their timing and geometry, and the devices."""
