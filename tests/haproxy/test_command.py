"""`codegemma-haproxy`, as Ray Serve starts it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from serving.haproxy.command import harden
from serving.haproxy.sections import HardeningError
from serving.servers.ray_environment import RAY_ENVIRONMENT
from tests.haproxy.front import ports, rendered, wait_until_open

_COMMAND = Path(sys.executable).with_name("codegemma-haproxy")


def test_it_becomes_a_hardened_haproxy_whose_directory_is_its_users_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    listening = ports()
    config = rendered(tmp_path, listening)
    process = subprocess.Popen([_COMMAND, "-db", "-f", config, "-dR"], stderr=subprocess.PIPE)
    try:
        wait_until_open(listening.http, process)
        # Ray Serve finds its HAProxy again by the path of the configuration.
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
        assert b"-dS" in arguments and str(config).encode() in arguments
        assert tmp_path.stat().st_mode & 0o777 == 0o700
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", listening.stats))
    finally:
        process.kill()
        process.communicate()


def test_it_says_why_it_does_not_start(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text("global\n")
    ended = subprocess.run([_COMMAND, "-db", "-f", config], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("codegemma-haproxy: section 'global'")


@pytest.mark.parametrize("part", ["node", "base"])
def test_a_directory_that_is_a_link_is_refused(tmp_path: Path, part: str) -> None:
    (tmp_path / "real" / "node").mkdir(parents=True)
    rendered(tmp_path / "real" / "node", ports())
    link, target = ("base", "real") if part == "base" else ("real/link", "node")
    (tmp_path / link).symlink_to(target)
    config = tmp_path / ("base/node" if part == "base" else "real/link") / "haproxy.cfg"
    with pytest.raises(HardeningError, match="not a directory of this user alone"):
        harden(config)


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = rendered(tmp_path, ports())
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(HardeningError, match="not a directory of this user alone"):
        harden(config)


def test_a_directory_in_which_others_may_write_is_closed_to_them(tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "node").mkdir(parents=True)
    base.chmod(0o777)
    harden(rendered(base / "node", ports()))
    assert base.stat().st_mode & 0o777 == 0o755


def test_ray_serve_keeps_its_files_where_nobody_else_does_and_sockets_fit() -> None:
    node = "0" * 56
    for name in ("RAY_SERVE_HAPROXY_SOCKET_PATH", "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH"):
        path = Path(RAY_ENVIRONMENT[name])
        assert str(os.getuid()) in path.parent.name
        assert len(str(path.parent / node / path.name)) <= 97


def test_it_loads_nothing_that_makes_a_proxy_slow_to_start() -> None:
    code = "import sys, serving.haproxy.command; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"ray", "starlette", "pydantic", "google.protobuf", "serving.gateway.request"} & set(loaded)
