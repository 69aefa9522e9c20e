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

# Newer Pythons, with the newest Sphinx that there is for them: where the system or pyenv has one, else in a root of a
# newer Debian, which debootstrap makes where it is installed, as root and with a mirror in reach.
tests=(tests/front_ends/test_sphinx.py tests/records/test_lock.py tests/records/test_cache.py tests/run/test_rehost.py
  tests/net/test_client.py)

# mirror: the one that the system's own packages come from.
mirror() {
  cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    sed -nE 's#^(deb (\[[^]]*\] )?|URIs: )(https?://[^ ]+).*#\3#p' | head -n 1
}

# rooted SUITE VERSION: makes the root once; fails where it cannot be had.
rooted() {
  local root=${TMPDIR:-/tmp}/imghost-debian-$1
  if [ ! -e "$root/.ready" ]; then
    [ "$(id -u)" = 0 ] && command -v debootstrap >/dev/null && [ -n "$(mirror)" ] || return 1
    rm -rf "$root"
    timeout 600 debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates,git "$1" "$root" \
      "$(mirror)" /usr/share/debootstrap/scripts/sid >/dev/null 2>&1 || return 1
    touch "$root/.ready"
  fi
  chroot "$root" "python$2" -c "import ssl, sqlite3" 2>/dev/null
}

# filled SUITE VERSION: puts a copy of what is here into the root, and what its tests need; fails where that cannot be had.
filled() {
  local root=${TMPDIR:-/tmp}/imghost-debian-$1
  rm -rf "$root/src" && mkdir "$root/src"
  git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | tar -x -C "$root/src"
  cp -L /etc/resolv.conf "$root/etc/resolv.conf"
  [ ! -e /etc/ssl/certs/ca-certificates.crt ] || cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  [ -e "$root/venv/.ready" ] || env -u PIP_FIND_LINKS chroot "$root" bash -c '
    cd /src && "python$0" -m venv /venv &&
    /venv/bin/python -m pip install --quiet --editable ".[mkdocs,sphinx]" "sphinx>=8" furo pytest pytest-timeout hypothesis &&
    touch /venv/.ready' "$2"
}

for pair in 3.13:trixie 3.14:forky; do
  version=${pair%%:*} suite=${pair##*:} found=""
  for one in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python; do
    # pyenv's own `python3.13` is there, and fails, where another version is chosen.
    if "$one" -c "import ssl, sqlite3" 2>/dev/null; then found=$one; break; fi
  done
  if [ -n "$found" ]; then
    ready ".venv-python-$version" "$found" "sphinx>=8"
    ".venv-python-$version/bin/python" -m pytest -q -o timeout=600 "${tests[@]}"
  elif rooted "$suite" "$version" && filled "$suite" "$version"; then
    chroot "${TMPDIR:-/tmp}/imghost-debian-$suite" bash -c 'cd /src && /venv/bin/python -m pytest -q -o timeout=600 "$@"' \
      pytest "${tests[@]}"
  else
    echo "Python $version: not here, so its tests are left out"
  fi
done
