"""The Python-Markdown extension: a text's images pointed at what the lock already knows.

It asks no network and uploads nothing: a reference is rewritten only where the lock has its file's bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from markdown import Markdown
from markdown.extensions import Extension
from markdown.postprocessors import Postprocessor

from imghost import read_lock, rewrite_text

_LAST: Final = -1000
"""After everything else that makes or changes HTML."""


class ImghostExtension(Extension):
    """Serves a text's images from the lock."""

    def __init__(self, **chosen: Any) -> None:
        self.config = {
            "lock": ["imghost.lock", "the committed file of records"],
            "docs": ["docs", "the folder that the texts and their images lie in"],
            "page": ["", "the rendered page's path in that folder; empty = not known, except under MkDocs"],
            "options": [{}, "the host's own settings, as they were when the lock was written"],
        }
        super().__init__(**chosen)

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - Python-Markdown's name
        """Rewrite what every other extension has made."""
        md.postprocessors.register(_HostedImages(md, self.getConfigs()), "imghost", _LAST)


def makeExtension(**chosen: Any) -> ImghostExtension:  # noqa: N802 - Python-Markdown's name
    """Make the extension where it is named by its module, `imghost.markdown`."""
    return ImghostExtension(**chosen)


class _HostedImages(Postprocessor):
    def __init__(self, md: Markdown, chosen: Mapping[str, Any]) -> None:
        super().__init__(md)
        self._chosen = chosen

    def run(self, text: str) -> str:
        lock, docs = Path(self._chosen["lock"]).absolute(), Path(self._chosen["docs"]).absolute()
        images = read_lock(lock, self._chosen["options"], datetime.now(UTC))
        return rewrite_text(text, docs, images, self._chosen["page"] or _page_of_mkdocs(self.md)) if images else text


def _page_of_mkdocs(md: Markdown) -> str:
    """Find out which page is rendered: MkDocs keeps it with what makes its links relative."""
    known = getattr(md.treeprocessors["relpath"], "file", None) if "relpath" in md.treeprocessors else None
    return str(known.dest_uri) if known else ""
