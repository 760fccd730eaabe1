#!/bin/sh
# Has other libraries write random models in the forms that we read, and compares our logits on 1 and 4 devices with
# transformers'. The writers live in an environment of their own, as in oracle.sh. SEED repeats a run.
set -eu
cd "$(dirname "$0")/.."

requirements=tests/forms/requirements.txt
keras_hub=keras-hub==0.32.0 # without what it depends on: TensorFlow, which only its data pipelines need
stamp=.venv-forms/.setup
state=$(pwd && cksum $requirements && echo $keras_hub)
if [ "$(cat $stamp 2>/dev/null)" != "$state" ] || ! .venv-forms/bin/python -c 'import pip' 2>/dev/null; then
    python=$(sh scripts/find-python.sh 3.11) || {
        echo "No Python 3.11 found: install one (pyenv install 3.11, uv python install 3.11) and run make forms again." >&2
        exit 1
    }
    "$python" -m venv --clear .venv-forms
    .venv-forms/bin/python -m pip install --disable-pip-version-check --no-compile -r $requirements
    .venv-forms/bin/python -m pip install --disable-pip-version-check --no-compile --no-deps $keras_hub
    echo "$state" >$stamp
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
seed=${SEED:-$(date +%s)}
echo "forms, seed $seed (SEED=$seed make forms repeats it)"
.venv-forms/bin/python tests/forms/google_writers.py --seed "$seed" --out "$folder/google"
# The logits of these are committed: tests/oracle/expected.npz.
committed=$(.venv/bin/python -c 'import json; print(json.load(open("tests/oracle/expected.json"))["seed"])')
.venv-forms/bin/python -W ignore tests/forms/nemo_writers.py --seed "$committed" --out "$folder/nemo"
.venv-forms/bin/python -W ignore tests/forms/peft_writers.py --seed "$seed" --out "$folder/peft"
PEFT_FORMS=$folder/peft GOOGLE_FORMS=$folder/google NEMO_FORMS=$folder/nemo XDG_CACHE_HOME=$folder/.cache \
    .venv/bin/pytest tests/sharding/checkpoint/test_google_writers.py tests/sharding/checkpoint/test_nemo_writers.py \
    tests/sharding/checkpoint/test_peft_writers.py
.venv-forms/bin/python -W ignore tests/forms/peft_writers.py --check "$folder/peft"
