"""`codegemma serve`, up to where Ray would start."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from serving.cli.main import app
from serving.cli.serve_file import demo_file, read_serve_file
from serving.servers.reserved_port import reserve_port

_HOST = "127.0.0.1"
_OPTIONS = ("--http-port", "--grpc-port", "--metrics-port")


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


def test_a_port_that_is_taken_is_named_with_the_way_to_choose_another() -> None:
    with ExitStack() as held:
        free = {option: str(held.enter_context(reserve_port((_HOST, 0))).getsockname()[1]) for option in _OPTIONS}
        taken = str(held.enter_context(socket.create_server((_HOST, 0))).getsockname()[1])
        for option in _OPTIONS:
            options = [part for pair in (free | {option: taken}).items() for part in pair]
            result = CliRunner().invoke(app, ["serve", *options], catch_exceptions=False)
            assert result.exit_code == 2
            said = result.stderr.replace("\n", " ").replace("  ", " ")
            assert f"cannot listen on {_HOST}:{taken}: Address already in use. Choose another with {option}." in said


_WITHOUT_TMP = """
from pathlib import Path
import serving.cli.serve
from serving.cli.main import app
serving.cli.serve.FILES = Path("/proc/none")
app()
"""


def _free_ports() -> list[str]:
    with ExitStack() as held:
        free = [held.enter_context(reserve_port((_HOST, 0))).getsockname()[1] for _ in _OPTIONS]
    return [part for option, port in zip(_OPTIONS, free, strict=True) for part in (option, str(port))]


def test_without_a_place_for_ray_it_says_what_to_mount(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", _WITHOUT_TMP, "serve", "--config", str(_without_package(tmp_path)), *_free_ports()]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1
    said = " ".join((ended.stdout + ended.stderr).split())
    assert "/proc/none cannot be made: No such file or directory. Ray has sockets and logs there: mount a /tmp" in said


def test_with_a_home_that_cannot_be_written_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/none")
    result = CliRunner().invoke(app, ["serve", *_free_ports()], catch_exceptions=False)
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "models.gemma-3-270m: The cache /proc/none/.cache/codegemma/checkpoints cannot be written" in said
    assert "Set XDG_CACHE_HOME to a directory with room that this user may write" in said


def _without_package(folder: Path) -> Path:
    document = yaml.safe_load(demo_file().read_text())
    document["applications"][0]["args"]["models"][0]["checkpoint"] = "/nowhere"
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_every_group_finds_a_cpu_however_many_models_there_are(tmp_path: Path) -> None:
    hosted: dict[str, object] = {"topology": {"hosts": 2, "chips_per_host": 2}}
    more: list[dict[str, object]] = [{"replicas": 2}, {"autoscaling": {"min_replicas": 1, "max_replicas": 3}}, hosted]
    roles = [["fim"], ["chat"], ["fim"], ["chat"]]
    models = [
        {"id": f"m{number}", "checkpoint": "m", "roles": roles[number], **keys}
        for number, keys in enumerate([{}, *more])
    ]
    shares = {"fim": {"models": {"m0": 1, "m2": 1}}, "chat": {"models": {"m1": 1, "m3": 1}}}
    document = yaml.safe_load(demo_file().read_text())
    document["applications"][0]["args"] = {"models": models, "routing": {"roles": shares}}
    path = tmp_path / "many.yaml"
    path.write_text(yaml.safe_dump(document))
    groups = 1 + 2 + 3 + (1 + 2)  # the last has a leader and two hosts
    assert read_serve_file(path).cpus == 2 * (groups + 1)


def test_its_ports_are_nobody_elses_until_it_ends_also_while_it_starts_anew() -> None:
    """Ray makes hundreds of connections before HAProxy listens, each from a port that the kernel chooses."""
    program = """
import os, socket, sys
from dataclasses import replace
from serving.cli.serve_file import demo_file, read_serve_file
from serving.cli.serve_ports import reserve_ports

def port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]

ports = [port() for _ in range(3)]
file = replace(read_serve_file(demo_file()), http_options={"port": ports[0]}, grpc_options={"port": ports[1]})
reserved = reserve_ports(file, ("127.0.0.1", ports[2]))
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], *map(str, ports)])
"""
    anew = """
import socket, sys
for port in sys.argv[1:]:
    with socket.socket() as somebody:
        print(somebody.connect_ex(("127.0.0.1", int(port))) != 0)  # it does not listen
    with socket.socket() as somebody:
        try:
            somebody.bind(("127.0.0.1", int(port)))
        except OSError as error:
            print(error.strerror)
"""
    done = subprocess.run([sys.executable, "-c", program, anew], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["True", "Address already in use"] * 3, done.stderr


def test_however_often_it_starts_anew_it_has_each_port_once() -> None:
    program = """
import os, sys
from dataclasses import replace
from serving.cli.serve_file import demo_file, read_serve_file
from serving.cli.serve_ports import reserve_ports

program, left, *ports = sys.argv[1:]
http, grpc, rays = map(int, ports)
file = replace(read_serve_file(demo_file()), http_options={"port": http}, grpc_options={"port": grpc})
reserved = reserve_ports(file, ("127.0.0.1", rays))
links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
print(sum(os.readlink(link).startswith("socket:") for link in links if os.path.islink(link)), flush=True)
if int(left):
    os.execv(sys.executable, [sys.executable, "-c", program, program, str(int(left) - 1), *ports])
"""
    with ExitStack() as free:
        ports = [str(free.enter_context(reserve_port((_HOST, 0))).getsockname()[1]) for _ in range(3)]
    command = [sys.executable, "-c", program, program, "2", *ports]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["3"] * 3, done.stderr


def test_a_signal_from_before_it_could_be_taken_ends_it_well() -> None:
    """As when it starts anew: signals that came for the old process are the new one's."""
    command = [str(Path(sys.executable).with_name("codegemma")), "serve"]
    with ExitStack() as held:
        for option in _OPTIONS:
            command += [option, str(held.enter_context(reserve_port((_HOST, 0))).getsockname()[1])]
        program = f"""
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
os.kill(os.getpid(), signal.SIGINT)
os.execv({command[0]!r}, {command!r})
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
