"""`codegemma bench serve` and `codegemma top` against real servers on loopback."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving.cli.main import app

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


@pytest.fixture
def node() -> Iterator[HTTPServer]:
    """Exports `METRICS`, or what a test puts in their place."""

    class Node(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.server.text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Node) as server:
        server.text = METRICS
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def top(node: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("serving.cli.top._REFRESH_S", 0.01)
    monkeypatch.setattr("serving.cli.top._WINDOW_S", 0.05)
    picture = tmp_path / "top.svg"
    url = f"http://127.0.0.1:{node.server_port}/metrics"
    result = CliRunner().invoke(app, ["top", "--metrics-url", url, "--picture", str(picture)], catch_exceptions=False)
    assert result.exit_code == 0
    return picture.read_text().replace("&#160;", " ")


def test_top_shows_models_groups_and_the_fullest_memory(node, tmp_path, monkeypatch) -> None:
    shown = top(node, tmp_path, monkeypatch)
    assert all(text in shown for text in ("codegemma-2b", "Requests", "Groups", "50%", "6 ms"))
    assert "recompilations" not in shown


def test_top_says_that_a_recompilation_is_a_bug(node, tmp_path, monkeypatch) -> None:
    node.text += 'ray_codegemma_recompilations_total{model="codegemma-2b"} 3\n'
    assert "3 recompilations: a bug" in top(node, tmp_path, monkeypatch)


def test_top_waits_for_a_service_that_starts(node, tmp_path, monkeypatch) -> None:
    node.text = "# nothing yet\n"
    assert "No model of codegemma-serving is there yet" in top(node, tmp_path, monkeypatch)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/metrics", "nonsense"])
def test_top_without_a_service_says_so_in_one_line(url: str) -> None:
    result = CliRunner().invoke(app, ["top", "--metrics-url", url], catch_exceptions=False)
    assert result.exit_code == 1
    assert "--metrics-url" in result.stderr


def test_top_of_something_else_says_so(node, tmp_path) -> None:
    node.text = "<html>welcome {</html>"
    url = f"http://127.0.0.1:{node.server_port}/"
    result = CliRunner().invoke(app, ["top", "--metrics-url", url], catch_exceptions=False)
    assert (result.exit_code, "no metrics" in result.stderr) == (1, True)


def test_bench_serve_tells_how_long_developers_waited_and_writes_a_report(service, url, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app,
        ["bench", "serve", "--users", "4", "--seconds", "5", "--load", "mixed", "--report", str(tmp_path / "load")],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    assert all(text in result.stdout for text in ("typing", "shown in time", "first text p95, ms"))
    assert "typing" in (tmp_path / "load" / "report.md").read_text()
    assert (tmp_path / "load" / "report.svg").exists()


def test_bench_serve_without_a_service_fails_and_says_why() -> None:
    result = CliRunner().invoke(
        app, ["bench", "serve", "--url", "http://127.0.0.1:1", "--seconds", "5"], catch_exceptions=False
    )
    assert result.exit_code == 1
    assert "Nothing was answered" in result.stderr.replace("\n", " ")
