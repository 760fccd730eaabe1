"""Generated programs are judged by whether they run to their end, and can do little else."""

import pytest

from bench import solved
from bench.solved import is_solved


async def test_a_program_that_ends_is_solved_and_one_that_fails_is_not() -> None:
    assert await is_solved("import math\nassert math.gcd(4, 6) == 2")
    assert not await is_solved("assert 1 == 2")
    assert not await is_solved("def f(:")


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("x = bytearray(1 << 30)", id="much memory"),
        pytest.param("import os; os.system('true')", id="another program"),
        pytest.param("import subprocess; subprocess.run(['true'])", id="a subprocess"),
        pytest.param("import socket; socket.socket()", id="a socket"),
        pytest.param("import os; os.kill(os.getpid(), 0)", id="a signal"),
        pytest.param("open('a', 'w')", id="a file to write"),
        pytest.param("import os; os.open('a', os.O_CREAT | os.O_WRONLY)", id="a file to write, otherwise"),
        pytest.param("import os; os.fork()", id="another process"),
        pytest.param("import sys; sys.exit(0)", id="another end"),
    ],
)
async def test_a_program_is_kept_from_harm(program: str) -> None:
    assert not await is_solved(program)


async def test_a_program_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solved, "WALL_S", 0.5)
    assert not await is_solved("while True: pass")


async def test_programs_see_no_environment_and_an_empty_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    assert await is_solved("import os; assert 'SECRET' not in os.environ and not os.listdir('.')")
