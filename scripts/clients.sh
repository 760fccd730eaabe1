#!/bin/sh
# Makes .venv-clients: the Python clients, a Node with the JavaScript clients, and a Neovim that the service is tested
# with. Does nothing when that is up to date. What they need contradicts what .venv has, so they have one of their own.
set -eu
cd "$(dirname "$0")/.."

requirements=tests/clients/requirements.txt
javascript=tests/clients/javascript
stamp=.venv-clients/.setup
state=$(pwd && cat $requirements $javascript/package-lock.json scripts/clients.sh | cksum)
works() { .venv-clients/bin/python -c 'import pip' 2>/dev/null && [ -d $javascript/node_modules ]; }
if [ "$(cat $stamp 2>/dev/null)" = "$state" ] && works; then
    exit 0
fi

command -v curl >/dev/null || {
    echo "curl is missing, by which Neovim's plug-ins ask: install it (apt install curl) and run make clients again." >&2
    exit 1
}
.venv/bin/python -m venv --clear .venv-clients
echo "Installing $(grep -c == $requirements) packages of $requirements into .venv-clients"
.venv/bin/uv pip sync --quiet --system-certs --python .venv-clients/bin/python --require-hashes $requirements ||
    .venv-clients/bin/python -m pip install --disable-pip-version-check --quiet --require-hashes -r $requirements
echo "Installing the packages of $javascript/package-lock.json"
PATH="$PWD/.venv-clients/bin:$PATH" npm ci --prefix $javascript --loglevel error
echo "$state" >$stamp
