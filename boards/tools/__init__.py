"""From a design to a bitstream: projects for the tools of the vendors and the open ones, and loading."""
