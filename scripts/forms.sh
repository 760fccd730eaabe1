#!/bin/sh
# Has other libraries write random models in the forms that we read, with transformers' logits, and compares ours on 1
# and 4 devices. SEED repeats a run. They live in an environment of their own, as in oracle.sh.
set -eu
cd "$(dirname "$0")/.."

requirements=tests/oracle/forms-requirements.txt
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

seed=${SEED:-$(date +%s)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo "forms, seed $seed (SEED=$seed make forms repeats it)"
.venv-forms/bin/python tests/oracle/forms.py --seed "$seed" --out "$folder"
FORMS_DIR=$folder .venv/bin/pytest tests/sharding/test_form_fidelity.py
