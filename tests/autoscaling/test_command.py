"""`codegemma simulate-autoscaling`: what an operator sees."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from typer.testing import CliRunner, Result

from serving.autoscaling.config import AutoscalingConfig
from serving.autoscaling.pace import Pace
from serving.autoscaling.plot import plot_day
from serving.autoscaling.simulation import GroupModel, simulate
from serving.autoscaling.traffic import Request
from serving.cli.main import app

QUIET = ("--users", "5")
WriteConfig = Callable[..., str]


def run(*args: str) -> Result:
    return CliRunner().invoke(app, ["simulate-autoscaling", *args], catch_exceptions=False)


def rows(result: Result) -> dict[str, str]:
    assert result.exit_code == 0, result.output
    return {line[:15].strip(): line[15:].strip() for line in result.stdout.splitlines()[:6]}


@pytest.fixture
def write_config(tmp_path: Path) -> WriteConfig:
    def write(*models: tuple[str, dict[str, object]]) -> str:
        base: dict[str, object] = {"checkpoint": "/m", "limits": {"max_rows": 2}}
        args = {"models": [base | {"id": f"m{i}", "roles": [role]} | model for i, (role, model) in enumerate(models)]}
        path = tmp_path / "serve.yaml"
        path.write_text(yaml.safe_dump({"applications": [{"import_path": "serving.app:build", "args": args}]}))
        return str(path)

    return write


def test_it_sums_the_day_up_and_draws_it_in_the_terminal() -> None:
    result = run("--users", "100", "--max", "3")
    summary = rows(result)
    assert list(summary) == [
        "requests", "first token", "within 0.5 s", "replica groups", "replica hours", "changes"
    ]  # fmt: skip
    assert summary["replica groups"].endswith("2 at most")
    assert summary["replica hours"].endswith("(48.0 with 2 all day)")
    replicas, queued, p95, hours = result.stdout.splitlines()[6:]
    assert replicas.startswith("replicas ▄▄▄▄") and replicas.endswith("2 at most")
    assert "█" in replicas and "█" in queued and "█" in p95
    assert hours.split() == ["hour", "0", "4", "8", "12", "16", "20"]
    assert result.stderr == ""


def test_the_seed_decides() -> None:
    assert rows(run(*QUIET))["requests"] != rows(run(*QUIET, "--seed", "1"))["requests"]


def test_a_fixed_number_is_that_number() -> None:
    assert rows(run(*QUIET, "--min", "2", "--max", "2"))["replica hours"] == "48.0 (48.0 with 2 all day)"


def test_the_settings_come_from_a_config_file_unless_given(write_config: WriteConfig) -> None:
    file = write_config(("fim", {"autoscaling": {"min_replicas": 2, "max_replicas": 3}}), ("chat", {"replicas": 3}))
    assert rows(run(*QUIET, "--config", file, "--model", "m0"))["replica groups"] == "2.0 on average, 2 at most"
    assert rows(run(*QUIET, "--config", file, "--model", "m1"))["replica groups"] == "3.0 on average, 3 at most"
    given = run(*QUIET, "--config", file, "--model", "m0", "--min", "1", "--rows", "64")
    assert rows(given)["replica groups"] == "1.0 on average, 1 at most"


def test_the_only_model_of_a_file_needs_no_name(write_config: WriteConfig) -> None:
    assert rows(run(*QUIET, "--config", write_config(("fim", {"replicas": 2}))))["changes"] == "0"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--min", "3", "--max", "2"), "min_replicas=3 is more than max_replicas=2"),
        (("--target", "0"), "greater than 0"),
        (("--model", "m0"), "give --config too"),
        (("--config", "/none.yaml"), "/none.yaml: No such file"),
        (("--plot", "day.pdf"), "'day.pdf' must end with .svg or .png"),
    ],
)
def test_a_mistake_is_named(args: tuple[str, ...], message: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_an_unknown_model_is_answered_with_the_known(write_config: WriteConfig) -> None:
    file = write_config(("fim", {}), ("chat", {}))
    for args, said in (((), "several models; name one: m0, m1"), (("--model", "m2"), "'m2' is not one of the models")):
        result = run("--config", file, *args)
        assert result.exit_code == 2
        shown = " ".join(result.stderr.replace("│", " ").split())
        assert said in shown
        assert "m0, m1" in shown


def test_the_picture_shows_the_three_series(tmp_path: Path) -> None:
    picture = tmp_path / "day.svg"
    result = run(*QUIET, "--goal", "0.7", "--plot", str(picture))
    assert f"drawn: {picture}" in result.stdout
    texts = {
        "".join(node.itertext()).strip() for node in ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}text")
    }
    assert {"replica groups", "p95 first token, s", "goal 0.7 s", "12:00"} <= texts
    assert any("queued requests" in text for text in texts)


def test_equal_days_give_equal_pictures(tmp_path: Path) -> None:
    settings = AutoscalingConfig(max_replicas=2)
    pace = Pace(step_s=1.0, row_s=0, prompt_token_s=0, step_tokens=1024)
    group = GroupModel(rows=1, max_ongoing=1, start_s=60, pace=pace)
    day = simulate([Request(10.0 * i, 15.0) for i in range(30)], settings, group)
    pictures = [tmp_path / name for name in ("a.svg", "b.svg", "c.png")]
    for picture in pictures:
        plot_day(day, picture, title="a day", goal_s=0.5)
    first, second, png = (picture.read_bytes() for picture in pictures)
    assert first == second
    assert png.startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_written_is_refused_before_the_day_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("serving.cli.simulate_autoscaling.simulate")
    result = run(*QUIET, "--plot", str(tmp_path / "none" / "day.svg"))
    assert result.exit_code == 2
    assert "there is no directory" in " ".join(result.stderr.replace("│", " ").split())


_WITHOUT_MATPLOTLIB = """
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *args: None if name.partition(".")[0] == "matplotlib" else find(name, *args)
from serving.cli.main import app
app()
"""


def test_without_matplotlib_one_line_says_what_to_install() -> None:
    command = [sys.executable, "-c", _WITHOUT_MATPLOTLIB, "simulate-autoscaling", "--plot", "day.svg"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: --plot draws with matplotlib, which is not installed: pip install 'codegemma-serving[plots]'\n"
    )


def test_it_starts_without_ray_jax_or_matplotlib() -> None:
    code = "import sys, serving.cli.main; print({'ray', 'jax', 'matplotlib', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
