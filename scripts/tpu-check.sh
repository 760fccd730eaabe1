#!/bin/sh
# Compiles the shipped configurations for TPU v5e with the real compiler and compares with compiled/tpu-v5e.json; needs
# no TPU, but Linux. LAYERS=all compiles whole models and every step; further arguments go to compiled/tpu.py.
set -eu
cd "$(dirname "$0")/.."

# libtpu holds the compiler. In .venv it would make JAX look for TPUs, so it has a directory of its own.
stamp=.venv-tpu/.setup
mkdir -p .venv-tpu
sed -n '/^libtpu==/,/^    # via/p' requirements-tpu.lock >.venv-tpu/libtpu.lock
state=$(pwd && cat .venv-tpu/libtpu.lock)
if [ "$(cat $stamp 2>/dev/null)" != "$state" ]; then
    echo "Installing libtpu into .venv-tpu: some 200 MB the first time"
    rm -rf .venv-tpu/packages
    .venv/bin/uv pip install --system-certs --python .venv/bin/python --target .venv-tpu/packages --no-deps \
        --require-hashes -r .venv-tpu/libtpu.lock ||
        .venv/bin/python -m pip install --disable-pip-version-check --target .venv-tpu/packages --no-deps \
            --require-hashes -r .venv-tpu/libtpu.lock
    echo "$state" >$stamp
fi
PYTHONPATH=.venv-tpu/packages exec .venv/bin/python -m compiled.tpu --layers "${LAYERS:-2}" "$@"
