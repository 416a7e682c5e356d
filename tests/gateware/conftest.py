"""Warning filter for tests that only construct components."""


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "ignore::amaranth.hdl.UnusedElaboratable")
