"""`codegemma eval` against a real HTTP gateway on loopback, with a benchmark of four tasks."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from serving.cli.main import app
from serving.errors import Reason, ServingError
from serving.evaluation.sandbox import Outcome, Sandbox
from serving.evaluation.served import not_ready
from serving.gateway.request import CodeRequest, FimPrompt
from serving.gateway.service import Health
from tests.cli.conftest import ScriptedService
from tests.evaluation.conftest import HOLES, _bubblewrap, data, write_holes

__all__ = ["_bubblewrap", "data"]  # fixtures

SET = "infilling-single-line"


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


@pytest.fixture
def answering(url: str, service: ScriptedService, monkeypatch: pytest.MonkeyPatch) -> ScriptedService:
    """A service that fills every hole with a sum."""
    service.pieces = ["    c = a + b\n", "    return c\n"]
    return service


def run(data: Path, out: Path, *more: object) -> Result:
    return evaluate("run", SET, "--data", data, "--out", out, "--model", "codegemma-2b", *more)


def test_a_run_scores_a_model_and_reports_it_beside_the_model_card(
    answering: ScriptedService, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run(data, out)
    assert result.exit_code == 0, result.output
    assert "2 of 4 solved, 50.0%" in result.stdout
    report = json.loads((out / "report.json").read_text())
    assert report["scores"][0]["ends"] == {"passed": 2, "failed": 2}
    assert report["scores"][0]["card"] == {"2B": 78.41, "7B": 76.09, "7B-IT": 68.25}
    assert report["performance"]["completion_tokens"] == 8
    assert report["settings"]["model"] == "codegemma-2b"
    markdown = (out / "report.md").read_text()
    assert "| HumanEval-Infilling, single line | 2 | 4 | 50.0% |" in markdown
    assert "78.4%" in markdown
    asked = answering.asked[0]
    assert (asked.max_tokens, asked.sampling.temperature) == (64, 0)
    assert isinstance(asked.prompt, FimPrompt)
    assert asked.prompt.path == "solution.py"


def test_a_run_that_was_interrupted_goes_on_and_asks_nothing_twice(
    answering: ScriptedService, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = ScriptedService.generate

    def failing(self: ScriptedService, *requests: CodeRequest) -> object:
        if len(self.asked) == 2:
            raise ServingError(Reason.PERMISSION_DENIED, "enough")
        return generate(self, *requests)

    out = tmp_path / "out"
    monkeypatch.setattr(ScriptedService, "generate", failing)
    first = run(data, out, "--parallel", 1)
    assert first.exit_code == 1
    assert "enough" in first.stderr
    assert "2 of 4 tasks are still to be done" in (out / "report.md").read_text()
    monkeypatch.setattr(ScriptedService, "generate", generate)
    assert run(data, out).exit_code == 0
    assert len(answering.asked) == 4
    assert len((out / "results.jsonl").read_text().splitlines()) == 4
    assert run(data, out).exit_code == 0
    assert len(answering.asked) == 4


def test_a_task_that_is_refused_counts_as_not_solved_and_the_others_are_asked(
    answering: ScriptedService, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = ScriptedService.generate

    def refusing(self: ScriptedService, *requests: CodeRequest) -> object:
        if isinstance(prompt := requests[0].prompt, FimPrompt) and prompt.suffix:
            raise ServingError(Reason.CONTEXT_LENGTH_EXCEEDED, "the prompt has 9000 tokens")
        return generate(self, *requests)

    out = tmp_path / "out"
    monkeypatch.setattr(ScriptedService, "generate", refusing)
    result = run(data, out)
    assert result.exit_code == 0, result.output
    assert "2 were not answered" in result.stderr
    report = json.loads((out / "report.json").read_text())
    assert report["scores"][0]["done"] == 4
    assert sum(report["scores"][0]["ends"].values()) == report["performance"]["answers"] == 2
    markdown = (out / "report.md").read_text()
    assert "**2 tasks were not answered**" in markdown
    assert "the prompt has 9000 tokens" in markdown
    asked = len(answering.asked)
    assert run(data, out).exit_code == 0
    assert len(answering.asked) == asked


def test_a_directory_of_another_run_is_refused(answering: ScriptedService, data: Path, tmp_path: Path) -> None:
    assert run(data, tmp_path / "out").exit_code == 0
    result = run(data, tmp_path / "out", "--no-post-processing")
    assert result.exit_code == 1
    assert "post_processing True, not False" in result.stderr


def test_tasks_that_judge_wrongly_stop_the_run_until_they_are_known(answering: ScriptedService, tmp_path: Path) -> None:
    wrong = {**HOLES[0], "task_id": "wrong", "canonical_solution": "    c = a\n"}
    data = write_holes(tmp_path / "data", [HOLES[1], wrong])
    out = tmp_path / "out"
    result = run(data, out)
    assert result.exit_code == 1
    assert "wrong first (its own solution: failed: AssertionError)" in result.stderr
    assert not answering.asked
    known = run(data, out, "--known-bad", out / "known-bad.txt")
    assert known.exit_code == 0, known.output
    assert "1 tasks are known to judge wrongly" in (out / "report.md").read_text()


def test_tasks_are_checked_once_and_in_every_run_of_another_directory(
    answering: ScriptedService, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []
    run_program = Sandbox.run

    async def counted(self: Sandbox, source: str, *arguments: Any) -> Outcome:
        ran.append(source)
        return await run_program(self, source, *arguments)

    monkeypatch.setattr(Sandbox, "run", counted)
    for out, programs in (("a", 12), ("a", 1), ("b", 12)):  # one of each time shows that there is a sandbox
        ran.clear()
        assert run(data, tmp_path / out).exit_code == 0
        assert len(ran) == programs


def test_sets_that_cannot_be_evaluated_are_reported(answering: ScriptedService, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = evaluate("run", SET, "mbpp", "--data", data, "--out", out, "--model", "codegemma-2b")
    assert result.exit_code == 0, result.output
    assert "mbpp is left out" in result.stderr
    assert "mbpp was not evaluated" in (out / "report.md").read_text()
    nothing = evaluate("run", "mbpp", "--data", data, "--out", out)
    assert nothing.exit_code == 1
    assert "None of the sets" in nothing.stderr


def test_without_a_sandbox_nothing_is_asked(
    answering: ScriptedService, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    result = run(data, tmp_path / "out")
    assert result.exit_code == 1
    assert "apt install bubblewrap" in result.stderr
    assert not answering.asked


def test_two_runs_are_compared(answering: ScriptedService, data: Path, tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    assert run(data, a).exit_code == 0
    answering.pieces = ["    return a * b\n"]
    assert run(data, b).exit_code == 0
    result = evaluate("compare", a, b)
    assert result.exit_code == 0, result.output
    assert "not decided in infilling-single-line" in result.stdout
    found = json.loads(evaluate("compare", a, b, "--json").stdout)
    assert found["sets"][0]["first"] == 2
    assert found["sets"][0]["verdict"] == "not decided"
    assert evaluate("compare", a, tmp_path).exit_code == 1


def test_a_model_that_is_not_served_and_a_set_that_is_none_are_refused(url: str, data: Path, tmp_path: Path) -> None:
    strange = evaluate("run", SET, "--data", data, "--out", tmp_path / "out", "--model", "gpt")
    assert strange.exit_code == 1
    assert "codegemma-7b-it, not one 'gpt'" in strange.stderr
    assert evaluate("run", "nope", "--data", data, "--out", tmp_path / "out").exit_code == 2


def test_sets_are_listed_with_what_is_missing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    text = evaluate("tasks", "--data", data).stdout
    assert "human-eval-infilling" in text
    assert "no HumanEval.jsonl" in text


def test_the_command_for_lm_eval_names_the_model_and_its_context(url: str) -> None:
    text = evaluate("lm-eval", "--model", "codegemma-2b").stdout
    assert f"model=codegemma-2b,base_url={url}/v1/completions,tokenized_requests=False,max_length=8192" in text
    assert "--tasks boolq,piqa,triviaqa," in text
    assert "--tasks piqa,mmlu_anatomy " in evaluate("lm-eval", "piqa", "mmlu_anatomy", "--model", "codegemma-2b").stdout
    assert evaluate("lm-eval", "--model", "nope").exit_code == 1


@pytest.mark.parametrize(("unavailable", "ready"), [((), True), (("codegemma-2b",), False)])
def test_a_gateway_is_ready_once_all_its_models_are(
    unavailable: tuple[str, ...], ready: bool, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def health(_: ScriptedService) -> Health:
        return Health(ready=True, unavailable=unavailable)

    monkeypatch.setattr(ScriptedService, "health", health)
    assert (not not_ready(url)) is ready
