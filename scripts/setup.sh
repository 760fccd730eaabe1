#!/bin/sh
# Makes .venv with the pinned packages and this project in it. Does nothing when that is up to date.
# ACCELERATOR=gpu or ACCELERATOR=tpu in the environment installs for that device instead of the CPU.
set -eu
cd "$(dirname "$0")/.."

case "${ACCELERATOR:-cpu}" in
    cpu) lock=requirements.lock ;;
    gpu | tpu) lock=requirements-$ACCELERATOR.lock ;;
    *) echo "ACCELERATOR=$ACCELERATOR is not known: use cpu, gpu or tpu." >&2 && exit 1 ;;
esac

stamp=.venv/.setup
state=$(pwd && cat "$lock" pyproject.toml scripts/setup.sh | cksum) # an environment that was moved is made anew
works() { .venv/bin/python -c 'import pip' 2>/dev/null; }
if [ "$(cat $stamp 2>/dev/null)" = "$state" ] && works; then
    exit 0
fi

if ! works; then
    python=$(sh scripts/find-python.sh 3.12 3.13) || {
        echo "No Python 3.12 or 3.13 found. Install one (apt install python3.12-venv, brew install python@3.12," \
            "pyenv install 3.12 or uv python install 3.12) and run make again." >&2
        exit 1
    }
    echo "Making .venv with $("$python" --version) from $python"
    "$python" -m venv --clear .venv
fi

rm -f $stamp
echo "Installing $(grep -c == "$lock") packages of $lock into .venv: some minutes the first time"
pip=".venv/bin/python -m pip install --disable-pip-version-check --no-compile --require-hashes"
sed -n '/^uv==/,/^    # via/p' "$lock" >.venv/uv.lock
# uv takes a third of pip's time, and removes what is no longer in the lock. pip also gets there by a mirror
# that only its own configuration knows.
$pip --quiet -r .venv/uv.lock
.venv/bin/uv pip sync --system-certs --python .venv/bin/python --require-hashes "$lock" || $pip -r "$lock"
# The build backend is in the lock too, so nothing unpinned is fetched for it.
.venv/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
# Ray starts many processes, and each imports JAX or Ray: from bytecode that takes a third of the time. Python would
# write it by itself, but not where PYTHONDONTWRITEBYTECODE is set or .venv is read-only, as in many containers.
# pip compiles too, but on one processor only.
echo "Compiling them to bytecode"
.venv/bin/python -m compileall -q -j 0 .venv/lib || echo "Not all could be compiled: Python will read their source."
echo "$state" >$stamp
