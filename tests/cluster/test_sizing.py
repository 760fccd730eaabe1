"""`codegemma cluster sizing`: the arithmetic, checked by hand."""

import json
from math import log
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
    weights, kv_token = 2 * 2_506_172_416, 18 * 2 * 256 * 2
    token_s = 2 * 2_506_172_416 / 197e12
    row_s = (1500 + 12) * kv_token / 819e9 + token_s
    assert size["pace"] == {
        "step_s": pytest.approx(weights / 819e9),
        "row_s": pytest.approx(row_s),
        "prompt_token_s": pytest.approx(token_s),
        "step_tokens": 1024,
    }
    per_s = 1000 * 40 / 20 / 60
    assert size["requests_per_s"] == pytest.approx(per_s)
    # In what prompts leave of a second, steps of n rows give the tokens that are asked for.
    left = 1 - per_s * 450 * token_s - per_s * 24 * row_s
    running = per_s * 24 * (weights / 819e9) / left
    step_s = weights / 819e9 + running * row_s
    prompt_s = step_s + 450 * token_s
    assert size["first_token_s"]["fim"] == pytest.approx(step_s + log(20) * prompt_s / (1 - per_s * prompt_s))
    assert (size["groups"], size["chips"], size["machines"], size["machine"]) == (1, 1, 1, "ct5lp-hightpu-1t")
    assert size["dollars"] == pytest.approx(730)
    # For 1024 tokens two layers: arrays of 2 x 16384 and 4 x 2048 numbers; for 32 rows three of 256000 logits,
    # each row has three slots of 8192 token ids.
    reserve = 600 * 10**6 + 1024 * 2 * (2 * 16384 + 4 * 2048) * 2 + 3 * 32 * 256000 * 4 + 3 * 32 * 8192 * 4
    assert steps(size)["KV cache a chip"] == f"{(63 * 2**28 - reserve - weights) // kv_token:,} tokens"


def test_a_7b_is_spread_over_four_v5e_chips() -> None:
    size = sizes("--users", "100")["codegemma-7b-it"]
    assert (size["chips"], size["machines"], size["machine"]) == (4, 1, "ct5lp-hightpu-4t")
    assert steps(size)["weights a chip"] == "4.27 GB"


@pytest.mark.parametrize("chip", [chip.name for chip in CHIPS.values() if chip.platform != "cpu"])
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
    assert "An estimate, not a measurement: 50% of data sheets" in text
    assert "Prices of chips are assumptions of 2025: set --price" in text
    assert "The price is yours: $2 per chip and hour." in " ".join(
        run("sizing", "--users", "5", "--price", "2").stdout.split()
    )


@pytest.mark.parametrize("content", [None, b"GGUF but no more"])
def test_a_checkpoint_that_cannot_be_read_is_said_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    checkpoint = tmp_path / "codegemma-2b"
    checkpoint.write_bytes(content) if content else checkpoint.mkdir()
    file = write(tmp_path / "serve.yaml", {"id": "m", "roles": ["fim"], "checkpoint": str(checkpoint)})
    result = run("sizing", "--users", "10", "--chip", "l4", "--config", file)
    assert result.exit_code == 2
    assert f"models.m: its checkpoint cannot be read: {checkpoint}" in result.stderr.replace("\n", "")


def test_models_share_a_role_as_routing_says(tmp_path: Path) -> None:
    models = [{"id": name, "roles": ["fim"], "replicas": 20} for name in ("codegemma-2b", "canary")]
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
        ({}, (), "models.m runs on GPUs, and the file does not say which. Name it with --chip: l4, a100-40"),
        (
            {"limits": {"max_context": 2048}},
            ("--chip", "l4", "--fim-tokens", "2000", "64"),
            "--fim-tokens 2000 64 are 2064 tokens, more than models.m.limits.max_context=2048: no request is longer.",
        ),
        (
            {"limits": {"max_context": 16384}},
            ("--chip", "l4"),
            "limits.max_context=16384, but the model was trained for 8192",
        ),
        (
            {},
            ("--chip", "l4", "--fim-goal", "0.1", "20"),
            "the first token of fim takes 345 ms in a group without other requests (p95), and 100 ms is the goal",
        ),
        (
            {},
            ("--chip", "l4", "--fim-goal", "0.5", "50"),
            "answers of fim get 29.7 tokens/s in a group without other requests, and 50 is the goal",
        ),
        ({}, ("--chip", "tpu9"), "'tpu9' is not one of v5e, l4"),
        ({"dtype": "float32", "checkpoint": "/m/codegemma-7b"}, ("--chip", "l4"), "do not fit one GPU with 18 GB"),
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


def test_a_group_has_machines_of_its_own_and_all_their_chips_are_paid_for(tmp_path: Path) -> None:
    topology = {"accelerator": "tpu-v5litepod", "hosts": 2, "chips_per_host": 4}
    two_hosts = {"id": "m", "roles": ["chat"], "checkpoint": "/m/codegemma-7b-it", "topology": topology}
    size = sizes("--users", "100", "--config", write(tmp_path / "serve.yaml", two_hosts))["m"]
    assert (size["chips"], size["machines"], size["machine"]) == (8, 2, "ct5lp-hightpu-4t")
    assert size["dollars"] == pytest.approx(8 * 1.2 * 730)


def test_a_model_that_may_have_too_few_groups_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "serve.yaml", {"id": "m", "roles": ["fim"], "autoscaling": {"max_replicas": 2}})
    result = run("sizing", "--users", "2000", "--chip", "l4", "--config", file)
    assert result.exit_code == 1
    assert "models.m needs 22 groups and may have 2. Raise its replicas" in " ".join(result.stderr.split())


def test_models_and_chips_are_those_of_the_rendered_chart() -> None:
    overlay = str(Path(__file__).parents[2] / "k8s" / "overlays" / "gpu")
    found = sizes("--users", "100", "--config", overlay)
    assert {name: size["machine"] for name, size in found.items()} == {
        "codegemma-2b": "g2-standard-12",
        "codegemma-7b-it": "g2-standard-12",
    }


def test_the_chart_may_come_from_stdin() -> None:
    rendered = Path(__file__).parents[2] / "k8s" / "overlays" / "gpu" / "rayservice-codegemma.yaml"
    result = run("sizing", "--users", "100", "--config", "-", input=rendered.read_text())
    assert result.exit_code == 0 and "g2-standard-12" in result.stdout


def test_manifests_without_the_service_are_refused() -> None:
    result = run("sizing", "--users", "100", "--config", str(Path(__file__).parents[2] / "k8s" / "base"))
    assert result.exit_code == 2
    assert "one RayService is sized, and here is: none. Give the rendered chart." in " ".join(result.stderr.split())


def test_a_service_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "service.yaml"
    file.write_text("{apiVersion: ray.io/v1, kind: RayService, metadata: {name: other}}")
    result = run("sizing", "--users", "100", "--config", str(file))
    assert result.exit_code == 2 and "RayService/other is not of this service" in " ".join(result.stderr.split())


def test_a_morning_is_simulated_with_the_autoscaling_of_the_file(tmp_path: Path) -> None:
    model = {"id": "m", "roles": ["chat"], "checkpoint": "/m/codegemma-7b-it", "limits": {"max_step_tokens": 1024}}
    model["topology"] = {"accelerator": "tpu-v5litepod", "chips_per_host": 4}
    args = ("--config", write(tmp_path / "serve.yaml", model), "--simulate")
    enough = sizes("--users", "100", *args)["m"]["simulated"]["chat"]
    assert enough["first_token_s"] < 1 and enough["tokens_per_s"] > 40
    result = run("sizing", "--users", "1500", *args)
    assert result.exit_code == 1 and "chat gets" in result.stderr and "in the simulation" in result.stderr


def test_what_nobody_asks_for_in_a_morning_has_no_speed(tmp_path: Path) -> None:
    model = {"id": "m", "roles": ["fim", "chat"], "checkpoint": "/m/codegemma-2b", "limits": {"max_step_tokens": 1024}}
    model["topology"] = {"accelerator": "tpu-v5litepod", "chips_per_host": 1}
    args = ("--users", "5", "--chats-per-hour", "0", "--config", write(tmp_path / "serve.yaml", model), "--simulate")
    result = run("sizing", *args, "--json")
    assert "Infinity" not in result.stdout
    assert json.loads(result.stdout)[0]["simulated"]["chat"] == {"first_token_s": 0.0, "tokens_per_s": None}
    assert (
        "chat: simulated" in (shown := run("sizing", *args).stdout) and "inf" not in shown.split("chat: simulated")[1]
    )


def test_a_morning_without_a_file_is_refused() -> None:
    result = run("sizing", "--users", "10", "--simulate")
    assert result.exit_code == 2 and "give --config too" in result.stderr
