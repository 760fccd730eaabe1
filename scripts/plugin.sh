#!/bin/sh
# Puts packages of a lock file, without what they depend on, into DIRECTORY/packages, for PYTHONPATH.
# Usage: plugin.sh DIRECTORY LOCK PACKAGE...
set -eu
directory=$1 lock=$2
shift 2
mkdir -p "$directory"
for package in "$@"; do
    grep -q "^$package==" "$lock" || { echo "$package is not in $lock: run make lock, or correct its name." >&2 && exit 1; }
    sed -n "/^$package==/,/^    # via/p" "$lock"
done >"$directory/wanted.lock"
state=$(pwd && cat "$directory/wanted.lock")
[ "$(cat "$directory/.setup" 2>/dev/null)" = "$state" ] && exit 0
echo "Installing $* into $directory: some hundred MB the first time"
rm -rf "$directory/packages"
.venv/bin/uv pip install --system-certs --quiet --python .venv/bin/python --target "$directory/packages" --no-deps \
    --require-hashes -r "$directory/wanted.lock" ||
    .venv/bin/python -m pip install --disable-pip-version-check --target "$directory/packages" --no-deps \
        --require-hashes -r "$directory/wanted.lock"
echo "$state" >"$directory/.setup"
