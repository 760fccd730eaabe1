"""What a run keeps, through whatever interrupts it."""

import json
from pathlib import Path

import pytest

from serving.evaluation.performance import Performance
from serving.evaluation.run_directory import Result, RunDirectory
from serving.evaluation.run_error import RunError
from tests.evaluation.test_comparison import results


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    written = results([True, False])
    for each in written:
        with run.results.appending() as append:
            append(each)
    assert run.results.read() == written


def test_a_line_that_was_cut_off_is_forgotten(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with run.results.appending() as append:
        append(results([True])[0])
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"task_set": "se')
    assert len(run.results.read()) == 1
    with run.results.appending() as append:
        append(results([True, False])[1])
    assert run.results.read() == results([True, False])


def test_a_line_that_is_no_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text('{"task": 1}\n')
    with pytest.raises(RunError, match="line 1 is no result"):
        RunDirectory(tmp_path).results.read()


def test_a_run_goes_on_with_its_own_settings_only(tmp_path: Path) -> None:
    RunDirectory(tmp_path).begin({"model": "a", "sets": ["x"]})
    RunDirectory(tmp_path).begin({"model": "a", "sets": ["x"]})
    with pytest.raises(RunError, match="model 'a', not 'b'"):
        RunDirectory(tmp_path).begin({"model": "b", "sets": ["x"]})


def test_only_one_process_writes(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with run.results.appending(), pytest.raises(RunError, match="Another process"), run.results.appending():
        pass


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="directory of `codegemma eval run`"):
        RunDirectory(tmp_path).settings()
    (tmp_path / "run.json").write_text(json.dumps([1]))
    with pytest.raises(RunError, match="expected an object"):
        RunDirectory(tmp_path).settings()


def test_the_time_of_waiting_counts() -> None:
    spans = [(0.0, 2.0), (1.0, 2.0), (10.0, 1.0)]
    answers = [
        Result(
            **{
                **vars(results([True])[0]),
                "started": started,
                "seconds": seconds,
                "prompt_tokens": 10,
                "cached_tokens": 5,
            }
        )
        for started, seconds in spans
    ]
    found = Performance.of(answers)
    assert found.seconds == 4.0
    assert dict(found.rows())["prompt tokens from the prefix cache"] == "50.0%"
    assert dict(found.rows())["an answer, p95"] == "2.00 s"
    assert Performance.of([]).rows()
