"""From a design to a programmed board: vendors' and open toolchains, their reports, and programming."""
