#!/bin/sh
# Compiles the shipped configurations for H100 with the real compiler; needs no GPU and no driver, but Linux.
# LAYERS=all compiles whole models and every step.
set -eu
cd "$(dirname "$0")/.."

# JAX's plugin for CUDA, and NVIDIA's compiler; none of the libraries that only run things. In .venv the plugin would make
# JAX look for GPUs, so it has a directory of its own.
sh scripts/plugin.sh .venv-gpu requirements-gpu.lock jax-cuda13-plugin jax-cuda13-pjrt nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-runtime

export TF_CPP_MIN_LOG_LEVEL=3 JAX_PLATFORMS=cpu
PYTHONPATH=.venv-gpu/packages exec .venv/bin/python -m compiled.gpu --layers "${LAYERS:-2}" "$@"
