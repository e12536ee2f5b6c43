"""Hook of mkdocs: the documents beside docs/ are pages of the site, and links to them lead to these pages."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "licence.txt",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    root = Path(config.docs_dir).parent
    for source, page in PAGES.items():
        text = (root / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=from_docs(text)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Let links out of docs/ lead to the pages."""
    for source, page in PAGES.items():
        markdown = markdown.replace(f"](../{source}", f"]({page}")
    return markdown


def from_docs(text: str) -> str:
    """Markdown of the top folder, with its links as docs/ sees them."""
    text = re.sub(r"""(\]\(|(?:src|href|srcset)=["'])docs/""", r"\1", text)
    for source, page in PAGES.items():
        text = text.replace(f"]({source})", f"]({page})").replace(f"]({source}#", f"]({page}#")
    return text
