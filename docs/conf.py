"""Configuration of the documentation site."""

import inspect
import os
import urllib.request
from importlib.metadata import version as installed_version

from amaranth.hdl import Elaboratable
from sphinx.util.inspect import stringify_signature

project = "psahw"
author = "the psahw developers"
copyright = "2026, the psahw developers"
version = release = installed_version("psahw")

extensions = [
    "myst_nb",  # Markdown pages and executed notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",  # numpydoc sections in docstrings
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx_click",  # the commands, from click itself
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "logs"]
root_doc = "index"
smartquotes = False  # options begin with two hyphens
highlight_language = "none"  # blocks without a language are command lines, not Python

html_theme = "furo"
html_title = "psahw"
html_static_path = []

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 4
nb_execution_mode = os.environ.get("PSAHW_DOCS_EXECUTE", "force")  # "off" for a quick look
nb_execution_timeout = 1200
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # "silent", not the address of that function
maximum_signature_line_length = 100
python_use_unqualified_type_names = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # attributes in the text of their class, where autodoc may list them too
napoleon_custom_sections = [("Members", "params_style")]  # the ports of a component


def reachable(url: str) -> bool:
    """Return whether another project's inventory can be fetched: the site must also build without a network."""
    try:
        urllib.request.urlopen(f"{url}/objects.inv", timeout=3).close()
    except OSError:
        print(f"no links to {url}: it cannot be reached")
        return False
    return True


_INVENTORIES = {
    "python": "https://docs.python.org/3",
    "amaranth": "https://amaranth-lang.org/docs/amaranth/v0.5.10",
    "numpy": "https://numpy.org/doc/stable",
}
intersphinx_mapping = {name: (url, None) for name, url in _INVENTORIES.items() if reachable(url)}
suppress_warnings = [
    "ref.python",  # single backticks also name parameters, which several classes may have
    "myst.xref_missing",  # links from pages to sources outside of docs/
]
default_role = "py:obj"  # single backticks in docstrings name Python objects


def skip_member(app, what: str, name: str, value: object, skip: bool, options) -> bool | None:
    """Leave out the fields of named tuples: their class's docstring describes them."""
    return True if (getattr(value, "__doc__", None) or "").startswith("Alias for field number") else None


def component_signature(app, what: str, name: str, value: object, options, *text: str | None) -> tuple | None:
    """Return the parameters of a component's constructor, which Amaranth's ``Elaboratable`` hides."""
    if what != "class" or not issubclass(value, Elaboratable):
        return None
    _, *parameters = inspect.signature(value.__init__).parameters.values()
    without_types = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    return stringify_signature(inspect.Signature(without_types)), None


def command_examples(app, context, lines: list[str]) -> None:
    """Show the examples of a command as code; sphinx-click makes line blocks of them."""
    examples: list[str] = []
    for line in lines:
        if line.startswith("| "):
            if not examples or not examples[-1].startswith("   "):
                examples += [".. code-block:: text", ""]
            examples.append(f"   {line.removeprefix('| ')}")
        else:
            examples.append(line)
    lines[:] = examples


def setup(app) -> None:
    """Connect the handlers of this configuration."""
    app.connect("autodoc-process-signature", component_signature)
    app.connect("sphinx-click-process-description", command_examples)
    app.connect("autodoc-skip-member", skip_member)
