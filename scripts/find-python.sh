#!/bin/sh
# Prints a CPython of one of the given versions that really runs and can make virtual environments.
# Usage: find-python.sh 3.12 3.13
# Looks on PATH, then among pyenv's installed versions, then asks uv. Exits 1 when there is none.

on_path() { # on_path NAME: every executable NAME on PATH, the first one first
    printf '%s\n' "$PATH" | tr ':' '\n' | while read -r dir; do
        [ -x "$dir/$1" ] && printf '%s\n' "$dir/$1"
    done
}

candidates() {
    for version in "$@"; do on_path "python$version"; done
    on_path python3
    for root in "${PYENV_ROOT:-}" "$HOME/.pyenv"; do
        for version in "$@"; do ls -d "$root/versions/$version"*/bin/python 2>/dev/null; done
    done
    if command -v uv >/dev/null 2>&1; then
        for version in "$@"; do uv python find "$version" 2>/dev/null; done
    fi
}

# A shim of pyenv exists for every version it knows but fails for those not selected: only running a Python tells.
usable() { # usable COMMAND VERSION...
    python=$1
    shift
    "$python" - "$@" >/dev/null 2>&1 <<'PYTHON'
import ensurepip, sys, sysconfig, venv

free_threaded = sysconfig.get_config_var("Py_GIL_DISABLED")  # few packages have wheels for these
version = "%d.%d" % sys.version_info[:2]
sys.exit(sys.implementation.name != "cpython" or bool(free_threaded) or version not in sys.argv[1:])
PYTHON
}

found=$(candidates "$@" | while read -r python; do
    if usable "$python" "$@"; then
        printf '%s\n' "$python"
        break
    fi
done)
[ -n "$found" ] && printf '%s\n' "$found"
