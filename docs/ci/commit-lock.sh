#!/bin/sh
# Commits the lock and pushes it, whoever pushes at the same time and whatever else the build has changed.
# ORIGIN is the address to push to, with what it needs to write; BRANCH the branch.
set -eu
export GIT_AUTHOR_NAME=imghost GIT_AUTHOR_EMAIL=imghost@localhost
export GIT_COMMITTER_NAME=imghost GIT_COMMITTER_EMAIL=imghost@localhost
# Where the settings say, which for Sphinx is beside conf.py; without the key nobody is asked.
lock=$(env -u IMGPRO_API_KEY imghost status --json | python -c 'import json, sys; print(json.load(sys.stdin)["lock"])')
test -f "$lock" || exit 0
git add -- "$lock"
if git diff --cached --quiet -- "$lock"; then exit 0; fi
git commit --quiet -m "Record where the images live" -- "$lock"
# Its lines may be merged in any order.
echo "*.lock merge=union" >> "$(git rev-parse --git-path info/attributes)"
for try in 1 2 3; do
  git pull --quiet --rebase --autostash "$ORIGIN" "$BRANCH" || { git rebase --abort || true; continue; }
  if git push --quiet ${PUSH_OPTIONS:-} "$ORIGIN" "HEAD:$BRANCH"; then exit 0; fi
  sleep "$try"
done
echo "the lock could not be pushed; the next build uploads these images again unless it has the cache" >&2
exit 1
