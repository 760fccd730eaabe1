"""The lines that `codegemma serve` prints: each works in a shell that knows nothing of this one."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from rich.console import Console

from serving.cli.ready_message import print_ready
from serving.cli.serve_file import demo_file, read_serve_file

COMMAND = Path(sys.executable).with_name("codegemma")
ELSEWHERE = {"PATH": "/usr/bin:/bin"}


def printed(capsys: pytest.CaptureFixture[str], url: str, metrics_port: int = 9464) -> str:
    file = replace(read_serve_file(demo_file()), http_options={"port": int(url.rpartition(":")[2])})
    print_ready(file, f"http://127.0.0.1:{metrics_port}/metrics", Path("logs"), Console(width=200))
    return capsys.readouterr().out


def test_the_line_for_a_terminal_works_in_another_shell(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", [str(COMMAND), "serve"])
    [line] = re.findall(r"^.*/codegemma chat .*$", printed(capsys, url), flags=re.MULTILINE)
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=ELSEWHERE, cwd=tmp_path, check=True)
    assert "return" in done.stdout


@pytest.mark.parametrize("started_as", ["-c", "-m", "/lib/serving/cli/main.py"])
@pytest.mark.parametrize("installed", [True, False])
def test_a_process_that_another_program_started_names_a_command_that_can_be_typed(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    started_as: str,
    installed: bool,
) -> None:
    monkeypatch.setattr(sys, "argv", [started_as, "serve"])
    if not installed:  # such as from a checkout
        (tmp_path / "python").symlink_to(sys.executable)
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    [line] = re.findall(r"^(.*) top$", printed(capsys, "http://127.0.0.1:8000"), flags=re.MULTILINE)
    environment = ELSEWHERE | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        ["sh", "-c", f"{line} --version"], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == version("codegemma-serving")


def test_addresses_are_named_where_they_are_not_the_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(COMMAND), "serve"])
    assert "--url" not in printed(capsys, "http://127.0.0.1:8000")
    assert f"{COMMAND} complete FILE:LINE:COL\n" in printed(capsys, "http://127.0.0.1:8000")
    assert f"{COMMAND} top --metrics-url http://127.0.0.1:9/metrics\n" in printed(capsys, "http://127.0.0.1:8000", 9)


def test_a_path_with_a_space_is_quoted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/my tools/codegemma", "serve"])
    assert "'/my tools/codegemma' chat" in printed(capsys, "http://127.0.0.1:8000")
