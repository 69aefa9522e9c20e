"""The MkDocs and ProperDocs plugin `imghost`: options in, report out."""

from mkdocs_imghost.plugin import ImghostPlugin

__all__ = ["ImghostPlugin"]
