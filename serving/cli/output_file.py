"""Checks that a file can be written, before the work whose result it will hold."""

import os
from pathlib import Path


def why_unwritable(path: Path) -> str:
    """Why a file cannot be written at this path; empty if it can."""
    if path.is_dir():
        return "it is a directory"
    if not path.parent.is_dir():
        return f"there is no directory {path.parent}"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return "no permission"
    return ""


def why_no_directory(path: Path) -> str:
    """Why files cannot be written into a directory, which may still have to be made; empty if they can."""
    there = next(one for one in (path, *path.absolute().parents) if one.exists())
    if not there.is_dir():
        return f"{there} is a file"
    return "" if os.access(there, os.W_OK) else "no permission"
