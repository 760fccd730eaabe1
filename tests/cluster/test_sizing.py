"""`codegemma cluster sizing`: the arithmetic, checked by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.cluster.chips import CHIPS
from tests.cluster.conftest import run


def sizes(*args: str) -> dict[str, dict[str, Any]]:
    result = run("sizing", "--json", *args)
    assert result.exit_code == 0, result.output
    return {size["model"]: size for size in json.loads(result.stdout)}


def steps(size: dict[str, Any]) -> dict[str, str]:
    return {step["what"]: step["result"] for step in size["steps"]}


def write(path: Path, *models: dict[str, Any], **args: Any) -> str:
    base = {"checkpoint": "/nowhere/codegemma-2b", "topology": {"accelerator": "gpu"}}
    document = {"models": [base | model for model in models], **args}
    path.write_text(yaml.safe_dump({"applications": [{"import_path": "serving.app:build", "args": document}]}))
    return str(path)


def test_completions_of_a_2b_on_one_v5e_chip() -> None:
    size = sizes("--users", "1000", "--efficiency", "1", "--price", "1")["codegemma-2b"]
    # 2_506_172_416 parameters; 18 layers x 2 x 1 head x 256 x 2 bytes = 18 KiB of KV a token.
    weights, kv_token, rows = 2 * 2_506_172_416, 18 * 2 * 256 * 2, 32
    step_s = (weights + rows * (1500 + 12) * kv_token) / 819e9
    prompt_s = 2 * 2_506_172_416 * 450 / 197e12
    per_s = 1000 * 40 / 20 / 60
    assert size["requests_per_s"] == pytest.approx(per_s)
    busy = per_s * (prompt_s + 24 * step_s / rows)
    groups = -int(-busy / 0.7 // 1)
    assert (size["groups"], size["chips"]) == (groups, 1)
    assert size["dollars"] == pytest.approx(groups * 730)
    # For 256 tokens two layers: arrays of 2 x 16384 and 4 x 2048 numbers; for 32 rows three of 256000 logits,
    # each row has three slots of 8192 token ids.
    reserve = 600 * 10**6 + 256 * 2 * (2 * 16384 + 4 * 2048) * 2 + 3 * 32 * 256000 * 4 + 3 * 32 * 8192 * 4
    assert steps(size)["KV cache a chip"] == f"{(63 * 2**28 - reserve - weights) // kv_token:,} tokens"


def test_a_7b_is_spread_over_four_v5e_chips() -> None:
    size = sizes("--users", "100")["codegemma-7b-it"]
    assert size["chips"] == 4
    assert steps(size)["weights a chip"] == "4.27 GB"


@pytest.mark.parametrize("chip", CHIPS)
def test_each_kind_of_chip_can_be_sized(chip: str) -> None:
    assert set(sizes("--users", "50", "--chip", chip)) == {"codegemma-2b", "codegemma-7b-it"}


def test_more_people_never_need_less() -> None:
    groups = [sizes("--users", str(users))["codegemma-2b"]["groups"] for users in (1, 500, 5000, 50_000)]
    assert groups == sorted(groups) and groups[0] == 1 < groups[-1]


def test_autoscaling_costs_less_once_there_is_more_than_one_group() -> None:
    few, many = sizes("--users", "1"), sizes("--users", "20000")
    assert few["codegemma-2b"]["dollars_autoscaled"] == pytest.approx(few["codegemma-2b"]["dollars"])
    assert many["codegemma-2b"]["dollars_autoscaled"] < many["codegemma-2b"]["dollars"]


def test_it_shows_each_step_and_says_what_is_assumed() -> None:
    result = run("sizing", "--users", "500")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "fim: requests/s 500 users x 40 keys a minute / 20 / 60 16.7" in lines
    text = " ".join(result.stdout.split())
    assert "An estimate, not a measurement: 50% of the data sheet of v5e" in text
    assert "$1.2 for a chip and hour is an assumption of 2025: set --price" in text
    assert "is what you gave" in " ".join(run("sizing", "--users", "5", "--price", "2").stdout.split())


@pytest.mark.parametrize("content", [None, b"GGUF but no more"])
def test_a_checkpoint_that_cannot_be_read_is_said_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    checkpoint = tmp_path / "codegemma-2b"
    checkpoint.write_bytes(content) if content else checkpoint.mkdir()
    file = write(tmp_path / "serve.yaml", {"id": "m", "roles": ["fim"], "checkpoint": str(checkpoint)})
    result = run("sizing", "--users", "10", "--chip", "l4", "--config", file)
    assert result.exit_code == 2
    assert f"models.m: its checkpoint cannot be read: {checkpoint}" in result.stderr.replace("\n", "")


def test_models_share_a_role_as_routing_says(tmp_path: Path) -> None:
    models = [{"id": name, "roles": ["fim"]} for name in ("codegemma-2b", "canary")]
    routing = {"roles": {"fim": {"models": {"codegemma-2b": 95, "canary": 5}}}}
    file = write(tmp_path / "serve.yaml", *models, routing=routing)
    found = sizes("--users", "1200", "--chip", "l4", "--config", file)
    assert found["codegemma-2b"]["requests_per_s"] == pytest.approx(38)
    assert found["canary"]["requests_per_s"] == pytest.approx(2)


def test_the_shape_of_another_model_comes_from_its_config_json(tmp_path: Path) -> None:
    file = write(tmp_path / "serve.yaml", {"id": "own", "checkpoint": "/nowhere/own", "roles": ["fim", "chat"]})
    shape = {
        "model_type": "gemma",
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "vocab_size": 1000,
    }
    (tmp_path / "config.json").write_text(json.dumps(shape))
    args = ("--users", "10", "--chip", "l4", "--config", file)
    size = sizes(*args, "--model-config", str(tmp_path / "config.json"))["own"]
    assert {"fim: requests/s", "chat: requests/s"} < steps(size).keys()
    refused = run("sizing", *args)
    assert refused.exit_code == 2 and "Give its Hugging Face config.json with --model-config" in refused.stderr


@pytest.mark.parametrize(
    ("model", "args", "message"),
    [
        ({}, ("--chip", "v5e"), "topology.accelerator is 'gpu', but the chip v5e is a TPU"),
        ({}, ("--chip", "tpu9"), "'tpu9' is not one of v5e, l4"),
        ({"dtype": "float32", "checkpoint": "/m/codegemma-7b"}, ("--chip", "l4"), "do not fit one GPU with 24 GB"),
        (
            {"topology": {"accelerator": "gpu", "chips_per_host": 3}},
            ("--chip", "l4"),
            "tensor_parallel=3 does not divide",
        ),
        (
            {"checkpoint": "/m/own"},
            ("--chip", "l4", "--model-config", "/nowhere.json"),
            "/nowhere.json is missing",
        ),
    ],
)
def test_what_cannot_be_sized_is_refused(
    tmp_path: Path, model: dict[str, Any], args: tuple[str, ...], message: str
) -> None:
    file = write(tmp_path / "serve.yaml", {"id": "m", "roles": ["fim"]} | model)
    result = run("sizing", "--users", "10", "--config", file, *args)
    assert result.exit_code == 2 and message in " ".join(result.stderr.split())
