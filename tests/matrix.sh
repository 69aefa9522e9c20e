#!/usr/bin/env bash
# Runs the Sphinx tests on the Sphinx versions that the main environment does not have.
set -euo pipefail
python=${1:-python3}
for version in 7.4 8.2; do
  venv=".venv-sphinx-$version"
  if [ ! -e "$venv/.ready" ]; then
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --upgrade "pip>=25.1"
    "$venv/bin/python" -m pip install --quiet --editable . "sphinx==$version.*" furo pytest pytest-timeout hypothesis
    touch "$venv/.ready"
  fi
  "$venv/bin/python" -m pytest -q tests/front_ends/test_sphinx.py
done
