"""Ignore unused components: many tests construct a component without elaborating it."""


def pytest_configure(config):
    """Add the warning filter."""
    config.addinivalue_line("filterwarnings", "ignore::amaranth.hdl.UnusedElaboratable")
