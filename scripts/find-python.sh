#!/bin/sh
# Prints a CPython of one of the given versions that really runs and can make virtual environments.
# Usage: find-python.sh 3.12 3.13
# Looks on PATH, then among pyenv's installed versions, then asks uv. Exits 1 when there is none.

# A shim of pyenv exists for every version it knows but fails for those not selected: only running a Python tells.
usable() { # usable COMMAND VERSION
    "$1" - "$2" >/dev/null 2>&1 <<'PYTHON'
import ensurepip, sys, sysconfig, venv

free_threaded = sysconfig.get_config_var("Py_GIL_DISABLED")  # few packages have wheels for these
wanted = sys.implementation.name == "cpython" and not free_threaded and "%d.%d" % sys.version_info[:2] == sys.argv[1]
sys.exit(not wanted)
PYTHON
}

on_path() { # on_path NAME: every executable NAME on PATH, first one first
    printf '%s\n' "$PATH" | tr ':' '\n' | while read -r dir; do
        [ -x "$dir/$1" ] && printf '%s\n' "$dir/$1"
    done
}

candidates() { # candidates VERSION
    on_path "python$1"
    on_path python3
    for root in "${PYENV_ROOT:-}" "$HOME/.pyenv"; do
        [ -n "$root" ] && ls -d "$root/versions/$1"*/bin/python 2>/dev/null
    done
    command -v uv >/dev/null 2>&1 && uv python find "$1" 2>/dev/null
}

for version in "$@"; do
    found=$(candidates "$version" | while read -r python; do
        if usable "$python" "$version"; then
            printf '%s\n' "$python"
            break
        fi
    done)
    if [ -n "$found" ]; then
        printf '%s\n' "$found"
        exit 0
    fi
done
exit 1
