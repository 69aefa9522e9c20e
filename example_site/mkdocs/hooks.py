"""Adds the images, which this site shares with the Sphinx one, to the files that MkDocs copies."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

IMAGES: Final = Path(__file__).parent.parent / "images"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add each image below `images/`, so that pages can link to it and MkDocs checks those links."""
    # MkDocs knows one docs folder. A symbolic link in it would do on Linux and macOS, but git on Windows
    # writes a link as a text file unless the user has turned links on.
    for image in sorted(path for path in IMAGES.rglob("*") if path.is_file()):
        uri = f"images/{image.relative_to(IMAGES).as_posix()}"
        files.append(File.generated(config, uri, abs_src_path=str(image)))
    return files
