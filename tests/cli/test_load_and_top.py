"""`codegemma bench serve` and `codegemma top` against real servers on loopback."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving.cli.main import app
from serving.errors import Reason, ServingError
from serving.gateway.request import CodeRequest
from serving.load.ask import Outcome
from tests.cli.conftest import ScriptedService

METRICS = """\
# TYPE ray_codegemma_ready_groups gauge
ray_codegemma_ready_groups{model="codegemma-2b",WorkerId="gateway"} 2
# TYPE ray_codegemma_kv_used_ratio gauge
ray_codegemma_kv_used_ratio{model="codegemma-2b",WorkerId="a"} 0.5
ray_codegemma_kv_used_ratio{model="codegemma-2b",WorkerId="b"} 0.25
# TYPE ray_codegemma_kv_tokens gauge
ray_codegemma_kv_tokens{model="codegemma-2b",WorkerId="a"} 1000
# TYPE ray_codegemma_step_limit_seconds gauge
ray_codegemma_step_limit_seconds{model="codegemma-2b",WorkerId="a"} 0.0061
# TYPE ray_codegemma_requests_total counter
ray_codegemma_requests_total{model="codegemma-2b",role="fim",protocol="http",reason="ok"} 12
"""


class Node(HTTPServer):
    """Exports `METRICS`, or what a test puts in their place."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Exporter)
        self.text = METRICS
        self.requests = 0
        self.on_request: Callable[[], object] = lambda: None


class Exporter(BaseHTTPRequestHandler):
    server: Node

    def do_GET(self) -> None:
        self.server.requests += 1
        self.server.on_request()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.text.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def top(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("serving.cli.top._REFRESH_S", 0.01)
    monkeypatch.setattr("serving.cli.top._WINDOW_S", 0.05)
    picture = tmp_path / "top.svg"
    url = f"http://127.0.0.1:{node.server_port}/metrics"
    result = CliRunner().invoke(app, ["top", "--metrics-url", url, "--picture", str(picture)], catch_exceptions=False)
    assert result.exit_code == 0
    return picture.read_text().replace("&#160;", " ")


def test_top_shows_models_groups_and_the_fullest_memory(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = top(node, tmp_path, monkeypatch)
    assert all(text in shown for text in ("codegemma-2b", "Requests", "Groups", "50%", "6 ms"))
    assert "recompilations" not in shown
    assert "adapters " not in shown.partition("Groups")[2].partition("Rates")[0]


def test_top_counts_the_adapters_of_the_group_that_has_most(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for replica, loaded in (("a", 3), ("b", 4321)):
        node.text += f'ray_codegemma_adapters_loaded{{model="codegemma-2b",replica="{replica}"}} {loaded}\n'
    groups = top(node, tmp_path, monkeypatch).partition("Groups")[2].partition("Rates")[0]
    assert "adapters" in groups
    assert "4321" in groups


def test_top_says_that_a_recompilation_is_a_bug(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node.text += 'ray_codegemma_recompilations_total{model="codegemma-2b"} 3\n'
    assert "3 recompilations: a bug" in top(node, tmp_path, monkeypatch)


def test_top_waits_for_a_service_that_starts(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node.text = "# nothing yet\n"
    assert "No model of codegemma-serving is there yet" in top(node, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/metrics",
        "nonsense",
        "http://127.0.0.1:abc",
        "http://127.0.0.1:99999/metrics",
        "http://[::1",
        "http://a..b/",
        "http://x[/b]/",
    ],
)
def test_top_without_a_service_says_so_in_one_line(url: str) -> None:
    result = CliRunner().invoke(app, ["top", "--metrics-url", url], catch_exceptions=False)
    assert result.exit_code == 1
    assert "--metrics-url" in result.stderr
    assert url in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("path", ["none/top.svg", "file/top.svg", "."])
def test_top_says_at_once_that_there_is_no_place_for_its_picture(node: Node, tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("x")
    url = f"http://127.0.0.1:{node.server_port}/metrics"
    result = CliRunner().invoke(
        app, ["top", "--metrics-url", url, "--picture", str(tmp_path / path)], catch_exceptions=False
    )
    assert (result.exit_code, node.requests) == (1, 0)
    assert "--picture" in result.stderr
    assert str(tmp_path / path) in result.stderr


def test_top_says_that_its_picture_could_not_be_written_after_all(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.cli.top._REFRESH_S", 0.01)
    monkeypatch.setattr("serving.cli.top._WINDOW_S", 0.05)
    directory = tmp_path / "pictures"
    directory.mkdir()
    node.on_request = lambda: directory.rmdir() if directory.exists() else None
    url = f"http://127.0.0.1:{node.server_port}/metrics"
    result = CliRunner().invoke(
        app, ["top", "--metrics-url", url, "--picture", str(directory / "top.svg")], catch_exceptions=False
    )
    assert result.exit_code == 1
    assert "--picture" in result.stderr


def test_top_of_something_else_says_so(node: Node, tmp_path: Path) -> None:
    node.text = "<html>welcome {</html>"
    url = f"http://127.0.0.1:{node.server_port}/"
    result = CliRunner().invoke(app, ["top", "--metrics-url", url], catch_exceptions=False)
    assert (result.exit_code, "without metrics" in result.stderr) == (1, True)


def test_bench_serve_tells_how_long_developers_waited_and_writes_a_report(
    service: ScriptedService, url: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(
        app,
        ["bench", "serve", "--users", "4", "--seconds", "5", "--load", "mixed", "--report", str(tmp_path / "load")],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    assert all(text in result.stdout for text in ("typing", "shown in time", "first text p95, ms"))
    assert "typing" in (tmp_path / "load" / "report.md").read_text()
    assert (tmp_path / "load" / "report.svg").exists()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_bench_serve_without_a_service_says_so_before_the_load(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.cli.bench.run_load", no_load)
    address = ["--url", "http://127.0.0.1:1", "--grpc", "127.0.0.1:1"]
    result = CliRunner().invoke(app, ["bench", "serve", "--protocol", protocol, *address], catch_exceptions=False)
    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr
    assert "`codegemma serve` starts one" in result.stderr
    assert result.stderr.count("\n") == 1


def test_bench_serve_says_which_model_is_missing_before_the_load(
    service: ScriptedService, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(request: CodeRequest) -> None:
        raise ServingError(Reason.ROLE_NOT_SERVED, "No model here serves chat.")

    monkeypatch.setattr(service, "generate", refuse)
    monkeypatch.setattr("serving.cli.bench.run_load", no_load)
    result = CliRunner().invoke(app, ["bench", "serve", "--load", "chat"], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (1, "error: No model here serves chat.\n")


@pytest.mark.parametrize("place", ["file", "file/load"])
def test_bench_serve_says_before_the_load_that_there_is_no_place_for_its_report(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    result = CliRunner().invoke(
        app,
        ["bench", "serve", "--url", "http://127.0.0.1:1", "--report", str(tmp_path / place)],
        catch_exceptions=False,
    )
    assert result.exit_code != 0
    assert "--report" in result.stderr


async def no_load(*_: object, **__: object) -> tuple[list[Outcome], float]:
    raise AssertionError("the load began")


def test_bench_serve_divides_by_the_time_that_it_took_and_prints_names_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = ["complete"] * 99 + ["[/x]"]
    outcomes = [Outcome(kind="chat", started_s=0, first_s=0.1, total_s=0.2, pieces=1, end=end) for end in ends]

    async def slow_load(*_: object, **__: object) -> tuple[list[Outcome], float]:
        return outcomes, 20.0

    monkeypatch.setattr("serving.cli.bench.run_load", slow_load)
    monkeypatch.setattr("serving.cli.bench.check_http", lambda *_: None)
    directory = tmp_path / "[b]" / "[" / "x]"
    result = CliRunner().invoke(
        app,
        ["bench", "serve", "--url", "http://x/[b]", "--seconds", "5", "--report", str(directory)],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    assert "requests/s" in result.stdout
    assert "5.0" in result.stdout.split("requests/s")[1].splitlines()[0]
    assert "failed: [/x]" in result.stdout
    assert "http://x/[b]" in result.stdout
    assert str(directory) in result.stderr
    assert (directory / "report.svg").exists()
