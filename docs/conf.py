"""How Sphinx makes a site of the documents: ``make site``. On their own they are Markdown that reads well as it is.

The source folder is the whole repository, so that README and change log are pages too, and a link to a file of code
is one that works on the site as it does beside the code: what is linked to is put there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.addnodes import pending_xref

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

project = "Turnstile"
author = "The authors of Turnstile"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "examples/**.md"]
exclude_patterns = [".*", "**/node_modules"]

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

html_theme = "furo"
html_title = "Turnstile"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
# Whoever asks for the root of the site is led to its first page.
html_extra_path = ["root"]
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
# Typographic quotes would change what is shown of a terminal, and a reader copies it.
smartquotes = False


def name_folders(app: Sphinx, page: nodes.document) -> None:
    """Show a link to a folder of code as its name alone, for a site has no page of it."""
    here = Path(app.env.doc2path(app.env.docname)).parent
    for link in list(page.findall(pending_xref)):
        if (here / link["reftarget"]).is_dir():
            link.replace_self(link.children)


def setup(app: Sphinx) -> None:
    """Be told of each page that was read."""
    app.connect("doctree-read", name_folders)
