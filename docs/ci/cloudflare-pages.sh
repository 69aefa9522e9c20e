#!/bin/sh
# The build command of Cloudflare Pages, with `site` as its output: publishes what the committed lock knows, without a key.
set -eu
python -m pip install -r docs/requirements.txt
mkdocs build --strict
