"""The documentation site: ``python -m sphinx -W docs build/site`` builds it, and nothing of it needs a network."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

# the modules that are named below by their names
sys.path.insert(0, str(Path(__file__).parent))

project = "metastable"
author = "The metastable developers"
project_copyright = "The metastable developers"
version = release = installed_version("metastable")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "site_figures",
]
exclude_patterns = ["examples", "templates", "_build"]
templates_path = ["templates"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

# The pages are Markdown as GitHub reads it.
myst_heading_anchors = 3

# Types stand in the docstrings, and each name has one page of its own.
autosummary_generate = True
# the public names of a module are those of its __all__, wherever they come from
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
# a name in backticks leads to its page, if it has one
default_role = "autolink"
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"example_\d",
    "ignore_pattern": r"__init__\.py",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("site_figures.scrape_figures",),
    # a figure is shown as a picture, and not named beside it
    "ignore_repr_types": r"matplotlib\.|metastable\.figures",
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "abort_on_example_error": True,
    "show_signature": False,
    "remove_config_comments": True,
}
suppress_warnings = ["config.cache"]

html_theme = "furo"
html_title = "metastable"
html_show_sourcelink = False
html_copy_source = False
