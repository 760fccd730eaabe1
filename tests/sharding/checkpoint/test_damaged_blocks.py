"""Damaged GGUF, Jlama and safetensors files end in one line that names the file, soon, and within bounds of memory."""

import json
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType as Type

from tests.sharding.checkpoint.blocks import write_blocks_gguf
from tests.sharding.checkpoint.files import WIDE, wide_tensors, write_huggingface
from tests.sharding.checkpoint.jlama_files import jlama_tensors, write_jlama
from tests.sharding.checkpoint.test_gguf_files import write_set

CASES = 15
"""Of each form."""
_HUGE = (0, 1, 255, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)

_READ = """
import json, resource, sys, time
from pathlib import Path
from sharding.checkpoint import CheckpointError, open_checkpoint

limit = 2**30 + sum(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in map(Path, sys.argv[1:]):
    start = time.process_time()
    try:
        checkpoint = open_checkpoint(path)
        for source in checkpoint.tensors.values():
            source.read(())
        if checkpoint.tokenizer is not None:
            checkpoint.tokenizer.read()
        said = "read"
    except CheckpointError as error:
        said = str(error)
    took = time.process_time() - start
    print(json.dumps([said, took]))
"""


def gguf_file(directory: Path) -> Path:
    directory.mkdir()
    return write_blocks_gguf(directory / "model.gguf", WIDE, wide_tensors(), Type.Q4_0, Type.Q8_0)


def gguf_set(directory: Path) -> Path:
    return write_set(directory)[1]


def jlama(directory: Path) -> Path:
    return write_jlama(directory, WIDE, jlama_tensors(wide_tensors(), "Q4")[0]) / "model.safetensors"


def hugging_face(directory: Path) -> Path:
    return write_huggingface(directory, WIDE, wide_tensors()) / "model.safetensors"


def damaged(data: bytes, draw: random.Random) -> bytes:
    """One kind of damage, somewhere in the header most of the time."""
    header = 3000 if draw.random() < 0.8 else len(data)
    at = draw.randrange(min(header, len(data) - 8))
    match draw.choice(["cut", "flip", "number", "swap", "nest", "text"]):
        case "cut":
            return data[: draw.choice([0, 8, at, len(data) - 1])]
        case "flip":
            return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
        case "number":
            return data[:at] + struct.pack("<Q", draw.choice(_HUGE)) + data[at + 8 :]
        case "swap":
            other = draw.randrange(min(header, len(data) - 8))
            swapped = bytearray(data)
            swapped[at : at + 8], swapped[other : other + 8] = data[other : other + 8], data[at : at + 8]
            return bytes(swapped)
        case "nest":
            return data[:at] + draw.choice([b"[" * 5000, b'{"a":' * 2000, struct.pack("<IQ", 9, 1) * 500]) + data[at:]
        case _:
            return data[:8] + json.dumps({"a": draw.choice([None, [], {"dtype": "Q4", "shape": [-1, 2**70]}])}).encode()


@pytest.mark.parametrize("write", [gguf_file, gguf_set, jlama, hugging_face])
@pytest.mark.parametrize("seed", [0])
def test_damage_is_named_or_harmless(tmp_path: Path, write: Callable[[Path], Path], seed: int) -> None:
    draw = random.Random(f"{write.__name__} {seed}")
    files = []
    for number in range(CASES):
        file = write(tmp_path / str(number))
        file.write_bytes(damaged(file.read_bytes(), draw))
        files.append(file)
    named = [file if "gguf" in write.__name__ else file.parent for file in files]
    ended = subprocess.run([sys.executable, "-c", _READ, *map(str, named)], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    found = list(map(json.loads, ended.stdout.splitlines()))
    for file, (said, seconds) in zip(files, found, strict=True):
        assert said == "read" or (str(file.parent) in said and "\n" not in said), said
        assert len(said) < 1000
        assert seconds < 5, said
    assert sum(said != "read" for said, _ in found) >= CASES / 3
