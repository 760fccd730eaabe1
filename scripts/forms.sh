#!/bin/sh
# Has other libraries write random models in the forms that we read, and adapters, and compares our logits on 1 and 4
# devices, and the answers of `codegemma serve`, with transformers' and PEFT's; takes the real Gemma 3 270M to transformers
# and back. The writers live in an environment of their own, as in oracle.sh. SEED repeats a run.
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
export OMP_WAIT_POLICY=PASSIVE # torch's threads otherwise spin between its many small operations
.venv-forms/bin/python -W ignore -m tests.forms.write --seed "$seed" --out "$folder/forms"
.venv-forms/bin/python -W ignore -m tests.forms.peft_writers --seed "$seed" --out "$folder/peft"
for model in "$folder"/forms/*; do # our own form of int8, of which no other library knows
    .venv/bin/codegemma convert "$model/int8/gemma_pytorch-quant" "$model/int8/native"
done
FORMS=$folder/forms PEFT_FORMS=$folder/peft XDG_CACHE_HOME=$folder/.cache .venv/bin/pytest \
    tests/sharding/checkpoint/test_written_forms.py tests/sharding/checkpoint/test_peft_writers.py \
    tests/checkpoints/test_round_trips.py tests/service/test_written_forms.py
.venv-forms/bin/python -W ignore -m tests.forms.peft_writers --check "$folder/peft"
