"""What XLA's GPU runtime runs one after the other in a step, its thunks, from what the compiler dumps of them."""

import os
from collections import Counter
from pathlib import Path

_FILES = "*.thunk_sequence_after_thunk_passes.txt"


def dump_thunks(directory: Path, module: str) -> None:
    """Has XLA write the thunks of modules of this name to a directory; call it before anything is compiled."""
    flags = f"--xla_dump_to={directory} --xla_dump_hlo_as_text --xla_dump_hlo_module_re={module}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"


def take_thunks(directory: Path) -> Counter[str]:
    """Returns how many thunks of each kind the module compiled last has, not counting those inside others.

    A step that is one `kCommandBuffer` is one CUDA graph: the host launches it and waits for nothing.
    """
    [file] = directory.glob(_FILES)
    lines = file.read_text().splitlines()
    for each in directory.iterdir():
        each.unlink()
    return Counter(line.split()[1] for line in lines if line[:1].isdigit())
