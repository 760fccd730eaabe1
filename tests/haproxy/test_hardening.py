"""The configuration that Ray Serve's own code writes, and what becomes of it."""

import re
import resource
from pathlib import Path

import pytest

from serving.haproxy.hardening import hardened, max_connections
from serving.haproxy.sections import HardeningError
from tests.haproxy.front import Front, Ports, rendered

PORTS = Ports(http=8000, grpc=9000, metrics=9101, stats=8404)


def written_by_ray(directory: Path, host: str = "127.0.0.1") -> str:
    return rendered(directory, PORTS, host=host, http_server=30000, grpc_server=40000).read_text()


def listening(text: str) -> list[str]:
    return re.findall(r"^ *bind (\S+)", text, re.MULTILINE)


def test_on_one_machine_everything_listens_on_loopback(tmp_path: Path) -> None:
    text = hardened(written_by_ray(tmp_path), tmp_path)
    assert sorted(listening(text)) == ["127.0.0.1:8000", "127.0.0.1:9000", "127.0.0.1:9101"]


def test_on_kubernetes_metrics_can_be_scraped_and_statistics_are_nobodys(tmp_path: Path) -> None:
    text = hardened(written_by_ray(tmp_path, "0.0.0.0"), tmp_path)
    assert sorted(listening(text)) == ["*:8000", "*:9000", "*:9101"]


@pytest.mark.parametrize(
    "known",
    [
        "mode 666 level admin",
        "    errorfile 502",
        "frontend prometheus",
        "    bind :9101",
        "frontend http_frontend",
        "    bind 127.0.0.1:8000",
        "    bind 127.0.0.1:9000 proto h2",
        "listen stats",
        "backend default_backend",
    ],
)
def test_a_configuration_that_says_something_else_is_refused(tmp_path: Path, known: str) -> None:
    text = written_by_ray(tmp_path)
    other = "\n".join(re.sub(re.escape(known), "other", line) for line in text.splitlines())
    assert other != text
    with pytest.raises(HardeningError):
        hardened(other.replace("    other", "    # other"), tmp_path)


def test_another_entrance_is_refused(tmp_path: Path) -> None:
    text = written_by_ray(tmp_path) + "frontend more\n    bind *:1\n"
    with pytest.raises(HardeningError, match="frontend more"):
        hardened(text, tmp_path)


def test_what_was_hardened_is_not_hardened_again(tmp_path: Path) -> None:
    with pytest.raises(HardeningError):
        hardened(hardened(written_by_ray(tmp_path), tmp_path), tmp_path)


def test_before_anything_is_deployed_the_configuration_is_hardened_as_well(tmp_path: Path) -> None:
    text = hardened(rendered(tmp_path, PORTS).read_text(), tmp_path)
    assert "mode 600 level admin" in text


def test_the_admin_socket_is_its_users_alone(haproxy: Front) -> None:
    assert (haproxy.directory / "admin.sock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("files", "connections"), [(1024, 4096), (20_000, 7600), (1_048_576, 20_000), (resource.RLIM_INFINITY, 20_000)]
)
def test_there_are_as_many_connections_as_the_system_allows_files(
    monkeypatch: pytest.MonkeyPatch, files: int, connections: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, files))
    assert max_connections() == connections
