"""Configuration of the documentation site."""

from importlib.metadata import version as installed_version

project = "psahw"
author = "the psahw developers"
copyright = "2026, the psahw developers"  # noqa: A001 (Sphinx reads this name)
version = release = installed_version("psahw")

extensions = [
    "myst_nb",  # Markdown pages and executed notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",  # numpydoc sections in docstrings
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx_click",  # the commands, from click itself
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "logs"]
root_doc = "index"

html_theme = "furo"
html_title = "psahw"
html_static_path = ["_static"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_timeout = 1200
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = False
napoleon_use_rtype = False
autosummary_generate = True

intersphinx_mapping = {
    "python": ("https://docs.python.org/3", None),
    "amaranth": ("https://amaranth-lang.org/docs/amaranth/v0.5.10", None),
    "numpy": ("https://numpy.org/doc/stable", None),
}
intersphinx_timeout = 5
suppress_warnings = [
    "intersphinx.external",  # an inventory that cannot be fetched: the site must build without a network
    "myst.xref_missing",  # links from pages to sources outside of docs/
]
