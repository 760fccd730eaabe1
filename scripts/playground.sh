#!/bin/sh
# Puts what the playground is built with and tested in into playground/: packages of its lock file, a Chromium. Does
# nothing when they are there.
set -eu
cd "$(dirname "$0")/.."

stamp=playground/node_modules/.setup
state=$(pwd && cat playground/package-lock.json playground/browser.mjs scripts/playground.sh | cksum)
if [ "$(cat $stamp 2>/dev/null)" = "$state" ]; then
    exit 0
fi

echo "Installing the packages of playground/package-lock.json, a Chromium among them: some 130 MB"
rm -f $stamp
.venv/bin/npm ci --prefix playground --ignore-scripts --no-audit --no-fund --loglevel error
.venv/bin/node playground/browser.mjs
echo "$state" >$stamp
