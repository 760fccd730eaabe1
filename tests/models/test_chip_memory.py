"""Sizing: CodeGemma on v5e and GPUs, against published sizes; and what is refused, with the arithmetic."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.config import AdaptersConfig, ModelConfig
from serving.models.chip_memory import (
    V5E_BYTES,
    as_served,
    check_model,
    host_bytes,
    kv_tokens,
    reserve_bytes,
    what_fits,
)
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B, GemmaConfig
from sharding.quantization import Quantization
from sharding.sizes import adapter_bytes, kv_bytes_per_token, weight_bytes


def model(topology: dict[str, Any], dtype: str = "bfloat16", **limits: int) -> ModelConfig:
    return ModelConfig.model_validate(
        {
            "id": "codegemma-7b-it",
            "checkpoint": "/models/codegemma",
            "roles": ["chat"],
            "dtype": dtype,
            "topology": topology,
            "limits": limits,
        }
    )


def v5e(chips_per_host: int, hosts: int = 1) -> dict[str, Any]:
    return {"accelerator": "tpu-v5litepod", "chips_per_host": chips_per_host, "hosts": hosts}


@pytest.mark.parametrize(
    ("config", "topology", "fits"),
    [
        (CODEGEMMA_2B, v5e(1), "1x1: 609k KV tokens, 74 full contexts"),
        (CODEGEMMA_7B, v5e(4), "2x2: 104k KV tokens, 12 full contexts"),
        (CODEGEMMA_7B, v5e(4, hosts=2), "2x4: 246k KV tokens, 30 full contexts"),
    ],
    ids=["2b-1", "7b-4", "7b-8"],
)
def test_what_fits_v5e(config: GemmaConfig, topology: dict[str, Any], fits: str) -> None:
    configured = model(topology)
    check_model(configured, config)
    tokens = kv_tokens(configured, config, V5E_BYTES)
    assert what_fits(configured, tokens) == f"codegemma-7b-it bfloat16 on {fits}"


def test_what_quantised_weights_leave_of_a_chip_goes_to_the_cache() -> None:
    plain = model(v5e(4))
    quantised = plain.model_copy(update={"quantize": "int8"})
    check_model(quantised, CODEGEMMA_7B)
    tokens = kv_tokens(quantised, CODEGEMMA_7B, V5E_BYTES)
    freed = weight_bytes(CODEGEMMA_7B, 4, 2) - weight_bytes(CODEGEMMA_7B.quantised("int8"), 4, 2)
    more = freed / kv_bytes_per_token(CODEGEMMA_7B, 4, 2)
    assert tokens - kv_tokens(plain, CODEGEMMA_7B, V5E_BYTES) == pytest.approx(more, abs=1)
    assert what_fits(quantised, tokens).startswith("codegemma-7b-it int8 on 2x2: ")


def test_adapters_take_their_room_from_the_cache_whether_they_are_loaded_or_not() -> None:
    plain = model(v5e(4))
    adapted = plain.model_copy(update={"adapters": AdaptersConfig(directory=Path("x"), max_loaded=8, max_rank=64)})
    taken = 9 * adapter_bytes(CODEGEMMA_7B, 4, 2, 64)
    tokens = kv_tokens(plain, CODEGEMMA_7B, V5E_BYTES) - kv_tokens(adapted, CODEGEMMA_7B, V5E_BYTES)
    assert tokens == pytest.approx(taken / kv_bytes_per_token(CODEGEMMA_7B, 4, 2), abs=1)
    many = plain.model_copy(update={"adapters": AdaptersConfig(directory=Path("x"), max_loaded=64, max_rank=256)})
    with pytest.raises(ValueError, match=r"bfloat16 weights and \d+ GB of adapters do not fit"):
        kv_tokens(many, CODEGEMMA_7B, V5E_BYTES)


def test_int4_is_refused_on_cpus() -> None:
    configured = model({}).model_copy(update={"quantize": "int4"})
    with pytest.raises(ValueError, match=r"^models.codegemma-7b-it.quantize: int4 .* Use int8-weights"):
        check_model(configured, CODEGEMMA_2B)


def test_cpus_hold_stored_weights_of_4_bits_in_8() -> None:
    stored = CODEGEMMA_2B.quantised("int4")
    assert as_served(model({}), stored).quantization is Quantization.INT8_GROUPS
    assert as_served(model(v5e(1)), stored) == stored
    decoded = model({}).model_copy(update={"quantize": "none"})
    assert as_served(decoded, stored) == CODEGEMMA_2B


def test_accelerators_hold_stored_groups_of_8_bits_with_a_scale_for_each_output() -> None:
    stored = CODEGEMMA_2B.quantised("int8-groups")
    assert as_served(model({}), stored) is stored
    assert as_served(model(v5e(1)), stored) == CODEGEMMA_2B.quantised("int8-weights")
    plain_head = replace(stored, embedding_quantization=None)
    assert as_served(model(v5e(1)), plain_head).embedding_quantization is None


@pytest.mark.parametrize("groups", [Quantization.INT8_GROUPS, Quantization.INT4])
def test_no_head_is_decoded_in_groups_on_an_accelerator_nor_from_4_bits_on_a_cpu(groups: Quantization) -> None:
    head_in_groups = replace(CODEGEMMA_2B.quantised("int4"), embedding_quantization=groups)
    assert as_served(model(v5e(1)), head_in_groups) == CODEGEMMA_2B.quantised("int4")
    beside_8_bits = replace(head_in_groups, quantization=Quantization.INT8_GROUPS)
    assert as_served(model({}), beside_8_bits) == CODEGEMMA_2B.quantised("int8-groups")


def test_room_is_kept_for_what_groups_of_4_bits_decode_to() -> None:
    plain, grouped = CODEGEMMA_2B.quantised("int8-weights"), CODEGEMMA_2B.quantised("int4")
    gate_and_up = 2 * 16_384 * 2048 * 4
    for devices in (1, 4):
        more = reserve_bytes(model(v5e(devices)), grouped, devices) - reserve_bytes(model(v5e(devices)), plain, devices)
        assert more == gate_and_up // devices


def test_groups_of_8_bits_are_refused_on_accelerators() -> None:
    configured = model(v5e(1)).model_copy(update={"quantize": "int8-groups"})
    with pytest.raises(ValueError, match=r"^models.codegemma-7b-it.quantize: int8-groups .* Use int8-w"):
        check_model(configured, CODEGEMMA_2B)


def test_a_kv_head_that_every_chip_keeps_costs_every_chip() -> None:
    one, four = (kv_tokens(model(v5e(chips)), CODEGEMMA_2B, V5E_BYTES) for chips in (1, 4))
    assert four < 1.5 * one


def test_what_is_configured_is_taken_when_it_fits() -> None:
    assert kv_tokens(model(v5e(4), kv_tokens=8192), CODEGEMMA_7B, V5E_BYTES) == 8192


@pytest.mark.parametrize(
    ("configured", "message"),
    [
        (
            model(v5e(1)),
            r"^models.codegemma-7b-it: 17.1 GB of bfloat16 weights do not fit one v5e chip with 16.9 GB, 0.688 GB of "
            r"it in reserve: use tensor_parallel 4 or more\.$",
        ),
        (
            model({**v5e(4)}, dtype="float32", max_context=8192, kv_tokens=65536),
            r"limits.kv_tokens=65536: its KV cache takes 15 GB on each chip \(224 KiB a token\), but 7.72 GB are left "
            r"beside the weights: 33\d{3} tokens. Lower kv_tokens to that at most, or use more chips\.$",
        ),
        (
            model({"accelerator": "gpu", "chips_per_host": 3}),
            r"models.codegemma-7b-it.topology: tensor_parallel=3 .*heads 16 = 3 x 5 \+ 1.*Choose one of 1, 2, 4, 8, 16",
        ),
        (
            model(v5e(8), max_rows=1024, page_size=32),
            r"limits.max_rows=1024: with max_context=8192 in pages of page_size=32, their page table is 1024 x 256 x 4 "
            r"bytes = 1024 KiB, but a v5e chip has 512 KiB for it. Lower max_rows to 512, or raise page_size\.$",
        ),
        (
            model(v5e(4), max_context=16384),
            r"limits.max_context=16384, but the model was trained for 8192 positions. Lower it",
        ),
    ],
    ids=["weights", "kv-tokens", "heads", "page-table", "context"],
)
def test_what_does_not_fit_is_refused_with_the_arithmetic(configured: ModelConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_model(configured, CODEGEMMA_7B)


def test_a_gpu_is_judged_by_the_memory_it_has() -> None:
    configured = model({"accelerator": "gpu"})
    check_model(configured, CODEGEMMA_7B)
    with pytest.raises(ValueError, match=r"do not fit one GPU with 12 GB, .*: use tensor_parallel 2 or more"):
        kv_tokens(configured, CODEGEMMA_7B, 12 * 10**9)
    left = 80 * 10**9 - reserve_bytes(configured, CODEGEMMA_7B, 1) - 17_075_361_792
    assert kv_tokens(configured, CODEGEMMA_7B, 80 * 10**9) == left // (448 * 1024)


def test_more_rows_and_tokens_in_a_step_leave_less_for_the_cache() -> None:
    few, rows, tokens = (
        kv_tokens(configured, CODEGEMMA_2B, V5E_BYTES)
        for configured in (
            model(v5e(1), max_rows=8),
            model(v5e(1), max_rows=512),
            model(v5e(1), max_rows=8, max_step_tokens=8192),
        )
    )
    assert few > rows and few > tokens


def test_a_page_table_that_fits_is_taken() -> None:
    check_model(model(v5e(8), max_rows=512, page_size=32), CODEGEMMA_7B)
    check_model(model({"accelerator": "gpu", "chips_per_host": 4}, max_rows=1024), CODEGEMMA_7B)


def test_a_context_that_does_not_fit_beside_the_weights_is_refused() -> None:
    with pytest.raises(ValueError, match=r"limits.max_context=8192: its KV cache takes 3.76 GB on each chip"):
        kv_tokens(model({"accelerator": "gpu"}), CODEGEMMA_7B, 20 * 10**9)


def test_cpu_devices_share_a_quarter_of_their_host() -> None:
    one, two = (model({"chips_per_host": chips}, "float32", max_context=64) for chips in (1, 2))
    memory = 64 * 10**9
    assert kv_tokens(one, CODEGEMMA_2B, memory) == (16 * 10**9 - 4 * 2_506_172_416) // 36864
    assert kv_tokens(two, CODEGEMMA_2B, memory) < kv_tokens(one, CODEGEMMA_2B, memory)
    assert host_bytes() > 0


def test_the_memory_of_a_container_is_its_limit_and_not_that_of_the_machine(tmp_path: Path) -> None:
    machine = host_bytes(tmp_path)
    (tmp_path / "memory.max").write_text("1000000\n")
    assert host_bytes(tmp_path) == 1_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert host_bytes(tmp_path) == machine > 1_000_000
