"""The `config.json` of Hugging Face directories: what is read, and what is refused by field."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sharding.checkpoint import CheckpointError, open_checkpoint
from sharding.checkpoint.huggingface.config import gemma_config_from_hf
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B, GemmaConfig
from tests.oracle.random_checkpoint import CONFIGS, random_tensors
from tests.sharding.checkpoint.files import write_huggingface

GEMMA = CONFIGS["gemma-mqa"]


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
