"""Pictures and pages about a network."""
