"""Builds both example sites on the embedded directory host and shows what became of their images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
BUILDS: Final = {
    "MkDocs": ("mkdocs", "build", "--strict", "-f", str(HERE / "mkdocs/mkdocs.yml")),
    "Sphinx": ("sphinx", "-W", "-q", "-b", "html", str(HERE / "sphinx"), str(HERE / "sphinx/_build/html")),
}
SITES: Final = {"MkDocs": HERE / "mkdocs/site", "Sphinx": HERE / "sphinx/_build/html"}


def main() -> int:
    """Build, then say where to look."""
    for name, command in BUILDS.items():
        print(f"== {name}: {' '.join(command[:-1] if name == 'Sphinx' else command)}", flush=True)
        if status := subprocess.run([sys.executable, "-m", *command], check=False).returncode:
            return status
    print("== What became of the images")
    for name, site in SITES.items():
        images = sorted((site / "_imghost").iterdir())
        size = sum(image.stat().st_size for image in images)
        print(f"{name}: {len(images)} images ({size:,} bytes) in {site / '_imghost'}")
        print(f"  the site    {(site / 'index.html').as_uri()}")
        print(f"  the report  {(HERE / f'report-{name.lower()}.html').as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
