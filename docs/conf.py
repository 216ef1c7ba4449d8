"""How Sphinx builds the documentation: ``make docs`` writes it to ``build/docs/``; warnings are errors."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import microcalc

sys.path.insert(0, str(Path(__file__).resolve().parent))
import_module("generate").main()

project = "microcalc"
author = "the microcalc authors"
version = release = microcalc.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["cards"]
default_role = "py:obj"
smartquotes = False  # options begin with two hyphens
html_theme = "furo"
html_title = f"microcalc {release}"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
# The notebook is executed by a test, which needs the package; the pages show what it gave there.
nb_execution_mode = "off"

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autosummary_generate = False
napoleon_google_docstring = False
# No other project's inventory is fetched: the build needs no network.
intersphinx_mapping: dict[str, tuple[str, None]] = {}
nitpicky = False
