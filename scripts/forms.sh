#!/bin/sh
# Checkpoints that the libraries of other forms write, read by ours: logits against those of transformers that are
# committed beside tests/oracle/oracle.py. The writers live in an environment of their own.
set -eu
cd "$(dirname "$0")/.."

requirements=tests/forms/requirements.txt
stamp=.venv-forms/.setup
state=$(pwd && cksum $requirements)
if [ "$(cat $stamp 2>/dev/null)" != "$state" ] || ! .venv-forms/bin/python -c 'import pip' 2>/dev/null; then
    python=$(sh scripts/find-python.sh 3.11) || {
        echo "No Python 3.11 found: install one (pyenv install 3.11, uv python install 3.11) and run make forms again." >&2
        exit 1
    }
    "$python" -m venv --clear .venv-forms
    .venv-forms/bin/python -m pip install --disable-pip-version-check --no-compile -r $requirements
    echo "$state" >$stamp
fi

seed=$(.venv/bin/python -c 'import json; print(json.load(open("tests/oracle/expected.json"))["seed"])')
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
.venv-forms/bin/python -W ignore tests/forms/nemo.py --seed "$seed" --out "$directory"
FORMS_DIRECTORY=$directory XDG_CACHE_HOME=$directory/.cache .venv/bin/pytest tests/sharding/test_forms.py
