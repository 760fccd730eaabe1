#!/bin/sh
# Puts bubblewrap, the sandbox of `codegemma eval`, into .bubblewrap from Debian's package where the system has none.
# Does nothing when it is there, and on other systems than Linux, which have no such sandbox.
set -eu
cd "$(dirname "$0")/.."

if [ "$(uname)" != Linux ]; then
    echo "There is no bubblewrap but on Linux: what needs it is not tested here."
    exit 0
fi
if command -v bwrap >/dev/null || [ -x .bubblewrap/usr/bin/bwrap ]; then
    exit 0
fi

fetch() { (cd .bubblewrap && apt-get download --quiet bubblewrap); }
echo "Fetching bubblewrap"
rm -rf .bubblewrap && mkdir .bubblewrap
fetch 2>/dev/null || { [ "$(id -u)" = 0 ] && apt-get update --quiet && fetch; } || {
    rm -rf .bubblewrap
    echo "bubblewrap is missing, in which generated programs run: install it (apt install bubblewrap) and run make" \
        "again." >&2
    exit 1
}
dpkg --extract .bubblewrap/*.deb .bubblewrap
.bubblewrap/usr/bin/bwrap --version
