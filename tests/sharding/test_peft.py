"""PEFT's adapters are read as they are computed there; what would be computed otherwise is refused by name."""

import json
import math
import random
import resource
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from sharding.adapters import Adapter, AdapterError
from sharding.adapters.files import is_peft
from sharding.adapters.forms import adapter_version
from sharding.adapters.reader import NoRoomForCopyError, read_adapter
from sharding.parameters import LORA_A
from tests.sharding.peft_files import peft_tensors, write_peft
from tests.sharding.random_adapters import random_adapter
from tests.sharding.small_models import LOCAL, MQA

ADAPTER = random_adapter(LOCAL, 1, 4)
Q_A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
Q_B = Q_A.replace("lora_A", "lora_B")


def assert_same(actual: Adapter, expected: Adapter, rtol: float = 1e-6) -> None:
    assert actual.weights.keys() == expected.weights.keys()
    for path, weight in expected.weights.items():
        assert actual.weights[path].dtype == np.float32
        np.testing.assert_allclose(actual.weights[path], weight, rtol=rtol)


def test_an_adapter_is_read_with_alpha_over_rank_in_b(tmp_path: Path) -> None:
    write_peft(tmp_path, peft_tensors(ADAPTER, factor=2))
    assert is_peft(tmp_path)
    assert_same(read_adapter(tmp_path, LOCAL, 4), ADAPTER)


def test_rank_stabilised_adapters_divide_by_the_root_of_the_rank(tmp_path: Path) -> None:
    write_peft(tmp_path, peft_tensors(ADAPTER, factor=8 / math.sqrt(4)), use_rslora=True)
    assert_same(read_adapter(tmp_path, LOCAL, 16), ADAPTER)


def test_ranks_and_alphas_of_single_modules_count_there(tmp_path: Path) -> None:
    other = random_adapter(LOCAL, 2, 2, "layers.1.mlp.down")
    weights = {**ADAPTER.weights, **other.weights}
    tensors = peft_tensors(Adapter(weights, ""), factor=2)
    name = "base_model.model.model.layers.0.self_attn.k_proj.lora_B.weight"
    tensors[name] = tensors[name] * 2 / 5
    alphas = {"^model.layers.0.self_attn.k_proj": 20, "layers.1.mlp.down_proj": 4, "down_proj": 8}
    write_peft(tmp_path, tensors, rank_pattern={"1.mlp.down_proj": 2}, alpha_pattern=alphas, r=4, lora_alpha=8)
    assert_same(read_adapter(tmp_path, LOCAL, 4), Adapter(weights, ""))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_sixteen_bits_are_read(tmp_path: Path, dtype: type) -> None:
    write_peft(tmp_path, {name: tensor.astype(dtype) for name, tensor in peft_tensors(ADAPTER, factor=2).items()})
    rounded = {}
    for path, weight in ADAPTER.weights.items():
        factor = 1 if path.endswith(LORA_A) else 2
        rounded[path] = (weight / factor).astype(dtype).astype(np.float32) * factor
    assert_same(read_adapter(tmp_path, LOCAL, 4), Adapter(rounded, ""))


def test_tensors_of_a_gemma_with_a_vision_tower_are_those_of_its_text_model(tmp_path: Path) -> None:
    for prefix in ("base_model.model.language_model.model.", "base_model.model.model.language_model."):
        tensors = {name.replace("base_model.model.model.", prefix): t for name, t in peft_tensors(ADAPTER, 2).items()}
        assert_same(read_adapter(write_peft(tmp_path, tensors), LOCAL, 4), ADAPTER)


def test_some_projections_of_some_layers_are_enough(tmp_path: Path) -> None:
    part = random_adapter(LOCAL, 3, 3, "layers.1.attention.q")
    write_peft(tmp_path, peft_tensors(part, 2), target_modules=["q_proj"], layers_to_transform=[1])
    assert_same(read_adapter(tmp_path, LOCAL, 4), part)


def test_the_version_is_that_of_the_contents(tmp_path: Path) -> None:
    first = read_adapter(write_peft(tmp_path / "a", peft_tensors(ADAPTER)), LOCAL, 4).version
    assert first == adapter_version(tmp_path / "a")
    assert read_adapter(write_peft(tmp_path / "b", peft_tensors(ADAPTER)), LOCAL, 4).version == first
    assert read_adapter(write_peft(tmp_path / "b", peft_tensors(ADAPTER), lora_alpha=9), LOCAL, 4).version != first


def test_a_temporary_directory_without_room_is_no_fault_of_the_adapter(tmp_path: Path) -> None:
    path = write_peft(tmp_path, peft_tensors(ADAPTER))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(NoRoomForCopyError, match=r"File too large.*set TMPDIR"):
            read_adapter(path, LOCAL, 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_adapter(path, LOCAL, 4).version == adapter_version(path)


def test_a_missing_temporary_directory_is_no_fault_of_the_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_peft(tmp_path, peft_tensors(ADAPTER))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(NoRoomForCopyError, match="No such file or directory"):
        read_adapter(path, LOCAL, 4)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"task_type": "SEQ_CLS"}, "task_type"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"trainable_token_indices": [5]}, "trainable_token_indices"),
        ({"alora_invocation_tokens": [2, 3]}, "alora_invocation_tokens"),
        ({"of_a_future_version": {"x": 1}}, "of_a_future_version"),
        ({"init_lora_weights": "pissa_niter_16"}, "init_lora_weights"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "embed_tokens"),
        ({"r": 0}, "r is 0"),
        ({"r": True}, "r is True"),
        ({"r": 8, "lora_alpha": 8}, "shape (4, 128); this model and adapter_config.json ask for (8, 128)"),
        ({"r": 17}, "max_rank is 16"),
        ({"rank_pattern": {"k_proj": 400}}, "its rank is 400"),
        ({"rank_pattern": {"(a+)+$": 4}}, "write out"),
        ({"lora_alpha": "16"}, "lora_alpha"),
        ({"use_rslora": "no"}, "use_rslora"),
        ({"target_modules": ["q_proj"]}, "does not name its module"),
    ],
)
def test_what_would_be_computed_otherwise_is_refused_by_name(
    tmp_path: Path, fields: dict[str, object], named: str
) -> None:
    write_peft(tmp_path, peft_tensors(ADAPTER), **fields)
    with pytest.raises(AdapterError) as raised:
        read_adapter(tmp_path, LOCAL, 16)
    assert named in str(raised.value)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


def without(name: str) -> Callable[[dict[str, np.ndarray]], None]:
    def change(tensors: dict[str, np.ndarray]) -> None:
        del tensors[name]

    return change


def with_tensor(name: str, value: np.ndarray) -> Callable[[dict[str, np.ndarray]], None]:
    def change(tensors: dict[str, np.ndarray]) -> None:
        tensors[name] = value

    return change


def in_layer(layer: int) -> Callable[[dict[str, np.ndarray]], None]:
    def change(tensors: dict[str, np.ndarray]) -> None:
        tensors |= {name.replace("layers.0", f"layers.{layer}"): tensors[name] for name in (Q_A, Q_B)}

    return change


def holding(number: float) -> np.ndarray:
    return np.full((4, LOCAL.embed_dim), number, np.float32)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (without(Q_B), f"it has only {Q_A}"),
        (with_tensor(Q_A, holding(np.nan)), Q_A),
        (with_tensor(Q_A, holding(np.inf)), Q_A),
        (with_tensor(Q_A, holding(1e30)), Q_A),
        (with_tensor(Q_A, np.ones((4, LOCAL.embed_dim), np.int8)), "type I8"),
        (in_layer(7), "2 layers"),
        (with_tensor(Q_A.replace(".weight", ".bias"), holding(1)), ".bias"),
        (with_tensor("base_model.model.lm_head.weight", holding(1)), "lm_head"),
        (with_tensor("base_model.model.model.embed_tokens.lora_embedding_A", holding(1)), "embed_tokens"),
        (dict.clear, "no tensor for q_proj"),
    ],
)
def test_missing_strange_and_damaged_tensors_are_named(
    tmp_path: Path, change: Callable[[dict[str, np.ndarray]], None], named: str
) -> None:
    tensors = peft_tensors(ADAPTER)
    change(tensors)
    write_peft(tmp_path, tensors, r=4, lora_alpha=8)
    with pytest.raises(AdapterError) as raised:
        read_adapter(tmp_path, LOCAL, 4)
    assert named in str(raised.value)
    assert "adapter_model.safetensors" in str(raised.value)


def test_an_adapter_of_another_model_is_refused_with_the_model_that_it_was_made_for(tmp_path: Path) -> None:
    write_peft(tmp_path, peft_tensors(random_adapter(replace(MQA, embed_dim=96), 1, 4)))
    with pytest.raises(AdapterError, match="made for 'google/codegemma-2b'"):
        read_adapter(tmp_path, MQA, 4)


@pytest.mark.parametrize(
    ("content", "named"), [("[" * 200_000, "no JSON"), ("[]", "no configuration"), ("{", "no JSON"), ("", "no JSON")]
)
def test_a_damaged_configuration_is_refused(tmp_path: Path, content: str, named: str) -> None:
    write_peft(tmp_path, peft_tensors(ADAPTER))
    (tmp_path / "adapter_config.json").write_text(content)
    with pytest.raises(AdapterError, match=named):
        read_adapter(tmp_path, LOCAL, 4)


def test_files_that_are_missing_pickled_or_too_large_are_refused_unread(tmp_path: Path) -> None:
    write_peft(tmp_path, peft_tensors(ADAPTER))
    file = tmp_path / "adapter_model.safetensors"
    with file.open("r+b") as opened:
        opened.truncate(1 << 40)  # takes no space
    with pytest.raises(AdapterError, match="at most"):
        read_adapter(tmp_path, LOCAL, 4)
    file.rename(tmp_path / "adapter_model.bin")
    with pytest.raises(AdapterError, match="pickle"):
        read_adapter(tmp_path, LOCAL, 4)
    (tmp_path / "adapter_config.json").unlink()
    assert not is_peft(tmp_path)
    with pytest.raises(AdapterError, match="is no adapter"):
        read_adapter(tmp_path, LOCAL, 4)


@pytest.mark.parametrize("seed", range(40))
def test_any_damage_to_either_file_gives_an_adapter_or_one_line_that_names_the_file(tmp_path: Path, seed: int) -> None:
    write_peft(tmp_path, peft_tensors(ADAPTER))
    rng = random.Random(seed)
    file = tmp_path / rng.choice(["adapter_config.json", "adapter_model.safetensors"])
    data = bytearray(file.read_bytes())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(min(len(data), 4096))
        data[at : at + rng.choice([0, 1, 8])] = rng.randbytes(rng.choice([0, 1, 8]))
    file.write_bytes(data[: rng.choice([len(data), len(data) // 2, 7])])
    try:
        read_adapter(tmp_path, LOCAL, 4)
    except AdapterError as error:
        assert str(tmp_path) in str(error)
        assert "\n" not in str(error)


def test_a_config_that_json_cannot_hold_is_not_read_whole(tmp_path: Path) -> None:
    write_peft(tmp_path, peft_tensors(ADAPTER))
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4, "notes": "x" * (1 << 20)}))
    with pytest.raises(AdapterError, match="at most"):
        read_adapter(tmp_path, LOCAL, 4)
