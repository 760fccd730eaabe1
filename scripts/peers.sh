#!/bin/sh
# Measures transformers, llama.cpp and this project on this machine's CPU and prints a table; arguments go to
# bench/peers.py. Each peer has an environment of its own: torch has a small CPU wheel for Python 3.11 only, and
# llama.cpp is compiled for the instructions that this processor has, which takes some minutes.
set -eu
cd "$(dirname "$0")/.."

python=$(sh scripts/find-python.sh 3.11) || {
    echo "No Python 3.11 found: install one (pyenv install 3.11, uv python install 3.11) and run make peers again." >&2
    exit 1
}

# environment DIRECTORY REQUIREMENTS: made anew when its requirements, its directory or CMAKE_ARGS have changed.
environment() {
    state=$(pwd && cksum "$2" && echo "${CMAKE_ARGS:-}")
    [ "$(cat "$1/.setup" 2>/dev/null)" = "$state" ] && "$1/bin/python" -c 'import pip' 2>/dev/null && return
    echo "making $1"
    "$python" -m venv --clear "$1"
    "$1/bin/python" -m pip install --disable-pip-version-check --no-compile -r "$2"
    echo "$state" >"$1/.setup"
}

environment .venv-oracle tests/oracle/requirements.txt

# Named, not GGML_NATIVE: what the compiler finds by itself is an illegal instruction on some virtual machines.
has() { grep -qw "$1" /proc/cpuinfo 2>/dev/null && echo ON || echo OFF; }
export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(getconf _NPROCESSORS_ONLN)}"
CMAKE_ARGS="-DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF -DMTMD_BUILD=OFF -DLLAMA_CURL=OFF \
-DGGML_SSE42=$(has sse4_2) -DGGML_AVX=$(has avx) -DGGML_AVX2=$(has avx2) -DGGML_FMA=$(has fma) -DGGML_F16C=$(has f16c) \
-DGGML_BMI2=$(has bmi2) -DGGML_AVX_VNNI=$(has avx_vnni) -DGGML_AVX512=$(has avx512f) \
-DGGML_AVX512_VBMI=$(has avx512vbmi) -DGGML_AVX512_VNNI=$(has avx512_vnni) -DGGML_AVX512_BF16=$(has avx512_bf16)" \
    environment .venv-peers-llama bench/engines/llama-requirements.txt

exec .venv/bin/python -m bench.peers "$@"
