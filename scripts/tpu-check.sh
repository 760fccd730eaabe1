#!/bin/sh
# Compiles the shipped configurations for TPU v5e with the real compiler and compares with compiled/tpu-v5e.json; needs
# no TPU, but Linux. LAYERS=all compiles whole models and every step; further arguments go to compiled/tpu.py.
set -eu
cd "$(dirname "$0")/.."

# libtpu holds the compiler. In .venv it would make JAX look for TPUs, so it has a directory of its own.
sh scripts/plugin.sh .venv-tpu requirements-tpu.lock libtpu
# What libtpu would otherwise ask a TPU machine's metadata server, and leave to load it in several processes at a time.
export TPU_SKIP_MDS_QUERY=1 TPU_ACCELERATOR_TYPE=v5litepod-8 TPU_WORKER_HOSTNAMES=localhost TPU_WORKER_ID=0
export ALLOW_MULTIPLE_LIBTPU_LOAD=1 TF_CPP_MIN_LOG_LEVEL=3 JAX_PLATFORMS=cpu
PYTHONPATH=.venv-tpu/packages exec .venv/bin/python -m compiled.tpu --layers "${LAYERS:-2}" "$@"
