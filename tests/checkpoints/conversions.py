"""Runs `codegemma convert`, in this process or in one that waits."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from typer.testing import CliRunner, Result

from serving.cli.main import app

TEXTS = ["def f(a, b):\n\treturn a  +   b\n", "<|fim_prefix|>x", "naïve 🙂 \r\n", " leading", "\n\n\n", "a" * 50]
RUN = "from serving.cli.main import app; app()"


def convert(*args: object) -> Result:
    return CliRunner().invoke(app, ["convert", *map(str, args)], catch_exceptions=False)


@contextmanager
def converting(source: Path, target: Path, *options: object, files: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A conversion that has written some files and begins another, and goes on when its standard input is closed."""
    waits = (
        "import sys, sharding.checkpoint.huggingface.writer as writer; save = writer.save_file; "
        f"writer.save_file = lambda tensors, file, **more: (f'-{files + 1:05}-of' in file.name and "
        "(print('writing', flush=True), sys.stdin.read()), save(tensors, file, **more))"
    )
    command = [sys.executable, "-c", f"{waits}; {RUN}", "convert", str(source), str(target), *map(str, options)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "writing\n"
            yield process
        finally:
            process.kill()
