"""Hugging Face directories: what is read, and what is refused by name."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from sharding.checkpoint import CheckpointError, open_checkpoint, read_tokenizer
from sharding.checkpoint.huggingface.config import gemma_config_from_hf
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B, GemmaConfig
from tests.oracle.random_checkpoint import CONFIGS, random_tensors
from tests.sharding.checkpoint.files import Tensors, expected_parameters, plain, write_huggingface
from tests.sharding.checkpoint.torch_files import write_torch_file

GEMMA = CONFIGS["gemma-mqa"]
GEMMA3 = CONFIGS["gemma3"]
UP = "model.layers.1.mlp.up_proj.weight"


def assert_parameters(path: Path, config: dict[str, Any], tensors: Tensors) -> None:
    checkpoint = open_checkpoint(path)
    expected = expected_parameters(config, tensors)
    assert checkpoint.tensors.keys() == expected.keys()
    for name, source in checkpoint.tensors.items():
        assert source.shape == expected[name].shape
        np.testing.assert_array_equal(plain(source).read((), expected[name].dtype), expected[name], strict=True)


@pytest.mark.parametrize("shards", [None, 3], ids=["single", "indexed"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16], ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_read_under_their_paths(tmp_path: Path, name: str, dtype: Any, shards: int | None) -> None:
    tensors = {key: value.astype(dtype) for key, value in random_tensors(CONFIGS[name], 1).items()}
    write_huggingface(tmp_path, CONFIGS[name], tensors, shards)
    assert_parameters(tmp_path, CONFIGS[name], tensors)


def test_the_output_projection_and_rope_frequencies_of_other_writers_are_ignored(tmp_path: Path) -> None:
    tensors = random_tensors(GEMMA, 1)
    superfluous = {
        "lm_head.weight": tensors["model.embed_tokens.weight"].copy(),
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(128, np.float32),
    }
    write_huggingface(tmp_path, GEMMA, tensors | superfluous)
    assert_parameters(tmp_path, GEMMA, tensors)


def test_a_head_of_its_own_is_refused(tmp_path: Path) -> None:
    tensors = random_tensors(GEMMA, 1)
    head = tensors["model.embed_tokens.weight"].copy()
    head[256] *= 1.01
    write_huggingface(tmp_path, GEMMA, tensors | {"lm_head.weight": head})
    with pytest.raises(CheckpointError, match=r"model\.safetensors: tensor lm_head\.weight differs from model\.embed"):
        open_checkpoint(tmp_path)


def test_a_model_that_peft_has_wrapped_is_read(tmp_path: Path) -> None:
    tensors = random_tensors(GEMMA, 1)
    wrapped = {
        f"base_model.model.{name.replace('_proj.weight', '_proj.base_layer.weight')}": value
        for name, value in tensors.items()
    }
    write_huggingface(tmp_path, GEMMA, wrapped)
    assert_parameters(tmp_path, GEMMA, tensors)
    adapter = {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight": np.ones((4, 64), np.float32)}
    write_huggingface(tmp_path, GEMMA, wrapped | adapter)
    with pytest.raises(CheckpointError, match=r"q_proj\.lora_A\.default\.weight is not used by this model"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("shards", [None, 3], ids=["single", "indexed"])
def test_a_file_of_a_checkpoint_stands_for_it(tmp_path: Path, shards: int | None) -> None:
    tensors = random_tensors(GEMMA, 1)
    write_huggingface(tmp_path, GEMMA, tensors, shards)
    assert_parameters(max(tmp_path.glob("*.safetensors")), GEMMA, tensors)


def test_a_file_of_another_name_is_read_beside_its_configuration(tmp_path: Path) -> None:
    tensors = random_tensors(GEMMA, 1)
    write_huggingface(tmp_path, GEMMA, tensors)
    file = (tmp_path / "model.safetensors").rename(tmp_path / "tuned.safetensors")
    assert_parameters(file, GEMMA, tensors)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "weights quantised by awq are not supported"),
        ({"quantization_config": {"quant_method": "gptq"}}, "weights quantised by gptq are not supported"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "weights quantised by bitsandbytes are not"),
        ({"quantization": {"group_size": 64, "bits": 4}}, "weights quantised by MLX are not supported"),
        (
            {"quantization_config": {"quant_method": "codegemma-serving", "format": "int4", "embedding": "int2"}},
            "weights quantised by codegemma-serving are not supported",
        ),
    ],
)
def test_weights_that_other_tools_have_quantised_are_refused_by_the_tools_name(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    write_huggingface(tmp_path, GEMMA | config, random_tensors(GEMMA, 1))
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{message}"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("shards", [None, 2], ids=["single", "indexed"])
@pytest.mark.parametrize(
    "name",
    [
        *("transformer/readme", "_METADATA", "_CHECKPOINT_METADATA", "model_config.yaml", "context/model.yaml"),
        *("last.ckpt", "model.weights.h5"),
    ],
)
def test_what_other_forms_have_beside_a_complete_checkpoint_changes_nothing(
    tmp_path: Path, name: str, shards: int | None
) -> None:
    tensors = random_tensors(GEMMA, 1)
    write_huggingface(tmp_path, GEMMA, tensors, shards)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    write_torch_file(tmp_path / name, {})
    assert open_checkpoint(tmp_path).format == "Hugging Face safetensors"
    assert_parameters(tmp_path, GEMMA, tensors)


@pytest.mark.parametrize("config", [True, False], ids=["with a configuration", "without"])
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("pytorch_model-00001-of-00002.bin", r"pickled by PyTorch"),
        ("decoder_model.onnx", "ONNX"),
        ("onnx/model.onnx", "ONNX"),
        ("flax_model.msgpack", "of Flax"),
        ("adapter_model.safetensors", "those of an adapter alone"),
    ],
)
def test_other_forms_are_refused_by_name(tmp_path: Path, name: str, form: str, config: bool) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    if config:
        (tmp_path / "config.json").write_text(json.dumps(GEMMA))
    with pytest.raises(
        CheckpointError, match=rf"{tmp_path}: its weights are {form}.* not supported\. Take the safetens"
    ):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("text", "vision"),
    [("language_model.model.", "vision_tower."), ("model.language_model.", "model.vision_tower.")],
)
def test_the_text_model_of_a_multimodal_checkpoint_is_read(tmp_path: Path, text: str, vision: str) -> None:
    tensors = random_tensors(GEMMA3, 1)
    stored = {text + name.removeprefix("model."): value for name, value in tensors.items()}
    stored[f"{vision}patch.weight"] = np.ones((3, 3), np.float32)
    write_huggingface(tmp_path, {"model_type": "gemma3", "text_config": GEMMA3}, stored)
    assert_parameters(tmp_path, GEMMA3, tensors)


def edited_header(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def damage(file: Path) -> None:
        data = file.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        edit(header)
        text = json.dumps(header).encode()
        file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return damage


def with_tensors(edit: Callable[[Tensors], object]) -> Callable[[Path], object]:
    def damage(file: Path) -> None:
        tensors = random_tensors(GEMMA, 1)
        edit(tensors)
        save_file(tensors, file)

    return damage


DAMAGED_FILES: list[tuple[str, Callable[[Path], object], str]] = [
    ("empty", lambda file: file.write_bytes(b""), "no safetensors file"),
    ("not safetensors", lambda file: file.write_bytes(b"PK\x03\x04" * 100), "no safetensors file"),
    ("ends in the header", lambda file: file.write_bytes(file.read_bytes()[:500]), "truncated: the header ends at"),
    (
        "ends before its last byte",
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        r"truncated: tensor model\.\S+ ends at",
    ),
    (
        "header is no JSON",
        lambda file: file.write_bytes(file.read_bytes().replace(b"{", b"<", 1)),
        "corrupt safetensors header",
    ),
    ("header is a list", lambda file: file.write_bytes(struct.pack("<Q", 2) + b"[]"), "corrupt safetensors header"),
    (
        "header without offsets",
        edited_header(lambda header: header[UP].pop("data_offsets")),
        r"corrupt safetensors header: KeyError\('data_offsets'\)",
    ),
    ("type", edited_header(lambda header: header[UP].update(dtype="I64")), f"tensor {UP} has the type I64; F32"),
    (
        "U8 without axes",
        edited_header(lambda header: header.update(x={"dtype": "U8", "shape": [], "data_offsets": [0, 1]})),
        "tensor x is U8, two numbers in a byte, and has no axes",
    ),
    (
        "offsets that are no integers",
        edited_header(lambda header: header[UP].update(data_offsets=[*map(float, header[UP]["data_offsets"])])),
        rf"tensor {UP} has the shape \[128, 64\] and the data_offsets \[\d+\.0, \d+\.0\]: no integers from 0 on",
    ),
    (
        "sizes that are no integers",
        edited_header(lambda header: header[UP].update(shape=[128.0, True])),
        rf"tensor {UP} has the shape \[128\.0, True\] and the data_offsets .*: no integers from 0 on",
    ),
    (
        "shape and bytes disagree",
        edited_header(lambda header: header[UP].update(shape=[128, 32])),
        rf"tensor {UP} of shape \(128, 32\) takes 16384 bytes as F32, but the header gives it bytes",
    ),
    (
        "shape",
        edited_header(lambda header: header[UP].update(shape=[64, 128])),
        rf"tensor {UP} has shape \(64, 128\); the configuration asks for \(128, 64\)",
    ),
    (
        "missing",
        with_tensors(lambda tensors: tensors.pop(UP)),
        rf"tensor {UP} \(parameter layers\.1\.mlp\.up\) is missing",
    ),
    (
        "extra",
        with_tensors(lambda tensors: tensors.update({"model.layers.1.bias": tensors[UP]})),
        r"tensor model\.layers\.1\.bias is not used",
    ),
    ("not described", edited_header(lambda header: header.pop(UP)), r"nothing describes bytes \d+ to \d+, before "),
    (
        "two in one place",
        edited_header(lambda header: header.update({"model.layers.1.bias": header[UP]})),
        rf"tensors {UP} and model\.layers\.1\.bias share bytes \d+ to \d+",
    ),
    (
        "more at the end",
        lambda file: file.write_bytes(file.read_bytes() + b"abc"),
        "nothing describes its last 3 bytes",
    ),
    (
        "nested without end",
        lambda file: file.write_bytes(struct.pack("<Q", 400_000) + b"[" * 400_000),
        "corrupt safetensors header: RecursionError",
    ),
    ("negative shape", edited_header(lambda header: header[UP].update(shape=[-128, -64])), "has the shape"),
]


@pytest.mark.parametrize(("damage", "message"), [case[1:] for case in DAMAGED_FILES], ids=[c[0] for c in DAMAGED_FILES])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1))
    damage(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=message) as raised:
        open_checkpoint(tmp_path)
    assert str(tmp_path) in str(raised.value)


def test_an_index_that_names_an_absent_shard_is_refused(tmp_path: Path) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1), shards=2)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"index\.json: tensor \S+ is in model-00002-of-00002\.safetensors, which is"
    ):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_a_description_without_end_is_refused_unread(tmp_path: Path, name: str) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1), shards=2)
    with (tmp_path / name).open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(CheckpointError, match=rf"{name} has more than 16777216 bytes, the most that is read"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.model", "tokenizer.json"])
def test_a_tokenizer_without_end_is_refused_unread(tmp_path: Path, name: str) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1))
    with (tmp_path / name).open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(CheckpointError, match=rf"{name} has more than 134217728 bytes, the most that is read"):
        read_tokenizer(tmp_path).read()


def test_an_index_that_places_a_tensor_in_the_wrong_shard_is_refused(tmp_path: Path) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1), shards=2)
    index_file = tmp_path / "model.safetensors.index.json"
    index = json.loads(index_file.read_text())
    index["weight_map"][UP] = "model-00001-of-00002.safetensors"
    index_file.write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=rf"00001-of-00002\.safetensors: tensor {UP}, which .* is missing"):
        open_checkpoint(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1), shards=2)
    first, second = sorted(tmp_path.glob("*.safetensors"))
    index_file = tmp_path / "model.safetensors.index.json"
    weight_map = json.loads(index_file.read_text())["weight_map"]
    twice, other, *_ = [name for name, shard in weight_map.items() if shard == second.name]
    first.write_bytes(second.read_bytes())
    index_file.write_text(json.dumps({"weight_map": {twice: first.name, other: second.name}}))
    with pytest.raises(CheckpointError, match=r"tensor \S+ is in \S+/model-0000[12]-of-00002.safetensors too"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": {"a": 1}}', "{}"])
def test_an_unreadable_index_is_refused(tmp_path: Path, content: str) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1), shards=2)
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"index\.json.* is not"):
        open_checkpoint(tmp_path)


def test_a_directory_without_weights_or_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        open_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(GEMMA))
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor model\.safetensors\.index\.json"):
        open_checkpoint(tmp_path)


def test_a_path_where_nothing_is_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file or directory"):
        open_checkpoint(tmp_path / "absent")


def test_codegemmas_published_configurations_give_the_presets() -> None:
    """Both spellings of RoPE's base and of the activation; fields left out have transformers' defaults."""
    old = {"model_type": "gemma", "hidden_act": "gelu", "hidden_activation": None, "rope_theta": 10000.0}
    assert gemma_config_from_hf(old) == CODEGEMMA_7B
    new = {
        "model_type": "gemma",
        "hidden_size": 2048,
        "intermediate_size": 16384,
        "num_hidden_layers": 18,
        "num_attention_heads": 8,
        "num_key_value_heads": 1,
        "hidden_activation": "gelu_pytorch_tanh",
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    }
    assert gemma_config_from_hf(new) == CODEGEMMA_2B


GEMMA3_4B = GemmaConfig(
    vocab_size=262_208,
    embed_dim=2560,
    mlp_dim=10_240,
    num_layers=34,
    num_heads=8,
    num_kv_heads=4,
    head_dim=256,
    max_context=131_072,
    rope_theta=1e6,
    rope_scale=8.0,
    query_scale=256**-0.5,
    qk_norm=True,
    post_norms=True,
    sliding_window=1024,
    global_every=6,
)
GEMMA3_4B_FIELDS = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024}


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_scaling": {"rope_type": "linear", "factor": 8.0}},
        {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            },
            "layer_types": [("full" if (i + 1) % 6 == 0 else "sliding") + "_attention" for i in range(34)],
        },
    ],
    ids=["transformers 4", "transformers 5"],
)
def test_a_multimodal_gemma_3_configuration_gives_its_text_model(rope: dict[str, Any]) -> None:
    text = {"model_type": "gemma3_text", **GEMMA3_4B_FIELDS, **rope}
    assert gemma_config_from_hf({"model_type": "gemma3", "text_config": text}) == GEMMA3_4B
    assert gemma_config_from_hf(text) == GEMMA3_4B


@pytest.mark.parametrize(
    ("kinds", "window", "every"),
    [("ff", None, 1), ("ss", 4096, 3), ("sfsf", 4096, 2)],
)
def test_layer_types_give_the_window_and_every_how_many_layers_are_global(
    kinds: str, window: int | None, every: int
) -> None:
    layer_types = ["full_attention" if kind == "f" else "sliding_attention" for kind in kinds]
    config = gemma_config_from_hf(
        {"model_type": "gemma3_text", "num_hidden_layers": len(kinds), "layer_types": layer_types}
    )
    assert config.sliding_window == window
    windows = [config.window(layer) for layer in range(len(kinds))]
    assert windows == [None if kind == "f" else 4096 for kind in kinds]
    assert replace(config, global_every=every) == config


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "model_type None is not supported; gemma, gemma3_text and gemma3 are"),
        ({"model_type": "gemma2"}, "model_type 'gemma2'"),
        ({"model_type": "gemma3"}, "without a text_config"),
        ({"model_type": "gemma", "hidden_size": "wide"}, "hidden_size='wide'"),
        ({"model_type": "gemma", "num_hidden_layers": 0}, "num_hidden_layers=0"),
        (
            {"model_type": "gemma", "num_hidden_layers": 10**9},
            "num_hidden_layers=1000000000 is no integer from 1 to 1024",
        ),
        ({"model_type": "gemma", "num_hidden_layers": True}, "num_hidden_layers=True"),
        ({"model_type": "gemma", "vocab_size": 2**40}, "vocab_size=1099511627776 is no integer from 1 to"),
        ({"model_type": "gemma", "rms_norm_eps": "small"}, "rms_norm_eps='small' is no positive number"),
        ({"model_type": "gemma", "rope_theta": -1}, "rope_theta=-1 is no positive number"),
        ({"model_type": "gemma3_text", "query_pre_attn_scalar": 0}, "query_pre_attn_scalar=0 is no positive number"),
        ({"model_type": "gemma", "hidden_act": "relu"}, "hidden_activation='relu'"),
        ({"model_type": "gemma", "attention_bias": True}, "attention_bias=True"),
        ({"model_type": "gemma", "tie_word_embeddings": False}, "tie_word_embeddings=false"),
        ({"model_type": "gemma", "quantization_config": {"bits": 4}}, "quantization_config="),
        ({"model_type": "gemma", "rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type 'dynamic'"),
        ({"model_type": "gemma3_text", "final_logit_softcapping": 30.0}, r"final_logit_softcapping=30\.0"),
        ({"model_type": "gemma3_text", "attn_logit_softcapping": 50.0}, r"attn_logit_softcapping=50\.0"),
        ({"model_type": "gemma3_text", "use_bidirectional_attention": True}, "use_bidirectional_attention=True"),
        ({"model_type": "gemma3_text", "layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        (
            {
                "model_type": "gemma3_text",
                "rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2.0}},
            },
            r"sliding_attention\.factor=2\.0",
        ),
    ],
)
def test_an_unsupported_configuration_is_refused_by_field(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{message}"):
        open_checkpoint(tmp_path)


def test_a_configuration_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a":' * 100_000)
    with pytest.raises(CheckpointError, match=r"config\.json is not valid JSON"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("shard", ["", ".", "..", "/"])
def test_an_index_that_names_no_file_is_refused(tmp_path: Path, shard: str) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {UP: shard}}))
    with pytest.raises(CheckpointError, match=rf"tensor {UP} is in {shard}, which is absent"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_tensor_and_file(tmp_path: Path, value: float) -> None:
    tensors = random_tensors(GEMMA, 1)
    tensors[UP] = tensors[UP].copy()
    tensors[UP][3, 4] = value
    checkpoint = open_checkpoint(write_huggingface(tmp_path, GEMMA, tensors))
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: tensor {UP} has numbers that are not finite"):
        plain(checkpoint.tensors["layers.1.mlp.up"]).read(())
