#!/bin/sh
# Compiles the shipped configurations for TPU v5e with the real compiler and compares with compiled/tpu-v5e.json; needs
# no TPU, but Linux. LAYERS=all compiles whole models and every step. Without arguments it also runs the tests that need
# libtpu; with arguments, which go to compiled/tpu.py, it is a look at something.
set -eu
cd "$(dirname "$0")/.."

# libtpu holds the compiler. In .venv it would make JAX look for TPUs, so it has a directory of its own.
sh scripts/plugin.sh .venv-tpu requirements-tpu.lock libtpu
export TF_CPP_MIN_LOG_LEVEL=3 JAX_PLATFORMS=cpu PYTHONPATH=.venv-tpu/packages
[ $# -gt 0 ] || .venv/bin/pytest --quiet tests/sharding/test_absent_devices.py
exec .venv/bin/python -m compiled.tpu --layers "${LAYERS:-2}" "$@"
