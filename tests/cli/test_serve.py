"""`codegemma serve`, up to where Ray would start."""

import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving.cli.main import app


@pytest.mark.parametrize(("name", "text"), [("[/x].yaml", None), ("x.yaml", "'[/ops]': 1"), ("x.yaml", "[bold]")])
def test_what_is_wrong_with_a_file_is_said_as_it_is(tmp_path: Path, name: str, text: str | None) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    result = CliRunner().invoke(app, ["serve", "--config", str(path)], catch_exceptions=False)
    assert result.exit_code == 2
    said = result.stderr.replace("\n", "")
    assert said.startswith("error: ")
    assert name in said


def test_a_signal_from_before_it_could_be_taken_ends_it_well() -> None:
    """As when it starts anew: signals that came for the old process are the new one's."""
    command = [str(Path(sys.executable).with_name("codegemma")), "serve"]
    with ExitStack() as held:
        for option in ("--http-port", "--grpc-port", "--metrics-port"):
            port = held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            command += [option, str(port)]
    program = f"""
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
os.kill(os.getpid(), signal.SIGINT)
os.execv({command[0]!r}, {command!r})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
