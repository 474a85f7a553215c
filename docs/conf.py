"""How Sphinx builds the pages: `make docs`. Nothing here needs a network."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "convscope"
author = "the convscope developers"
version = release = installed("convscope")
language = "en"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_parser",
    "arithmetic_gallery",
    "commands",
    "docstrings",
    "mathml",
    "public_names",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["extensions"]
default_role = "own"

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 72
toc_object_entries_show_parents = "hide"
add_module_names = False

html_theme = "pydata_sphinx_theme"
html_title = "convscope"
html_static_path = ["static"]
html_css_files = ["convscope.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": False,
}
_WITHOUT_SIDEBAR = ("index", "changes", "gallery/*", "tutorials/index")
html_sidebars = {page: [] for page in _WITHOUT_SIDEBAR}
project_copyright = "convscope developers. Apache-2.0"
pygments_style = "a11y-high-contrast-light"
