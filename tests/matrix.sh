#!/usr/bin/env bash
# Runs tests on the Sphinx versions and on the Pythons that the main environment does not have.
set -euo pipefail
python=${1:-python3}

# ready VENV PYTHON SPHINX: makes an environment once.
ready() {
  [ -e "$1/.ready" ] && return
  "$2" -m venv "$1"
  "$1/bin/python" -m pip install --quiet --upgrade "pip>=25.1"
  "$1/bin/python" -m pip install --quiet --editable ".[mkdocs,sphinx]" "$3" furo pytest pytest-timeout hypothesis
  touch "$1/.ready"
}

for version in 7.4 8.2; do
  ready ".venv-sphinx-$version" "$python" "sphinx==$version.*"
  ".venv-sphinx-$version/bin/python" -m pytest -q tests/front_ends/test_sphinx.py
done

# Newer Pythons, with the newest Sphinx that there is for them: where the system or pyenv has one.
for version in 3.13 3.14; do
  found=""
  for one in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python; do
    # pyenv's own `python3.13` is there, and fails, where another version is chosen.
    if "$one" -c "import ssl, sqlite3" 2>/dev/null; then found=$one; break; fi
  done
  if [ -z "$found" ]; then
    echo "Python $version: not here, so its tests are left out"
    continue
  fi
  ready ".venv-python-$version" "$found" "sphinx>=8"
  ".venv-python-$version/bin/python" -m pytest -q -o timeout=600 tests/front_ends/test_sphinx.py tests/records/test_lock.py \
    tests/records/test_cache.py tests/run/test_rehost.py tests/net/test_client.py
done
