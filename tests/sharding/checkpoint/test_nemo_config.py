"""The configuration of NeMo checkpoints: what is read, and what is refused by field."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sharding.checkpoint import CheckpointError, open_checkpoint, read_config
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B
from tests.sharding.checkpoint.files import WIDE
from tests.sharding.checkpoint.nemo_files import (
    TOKENIZER,
    write_nemo1,
)


@pytest.mark.parametrize(
    ("name", "expected"), [("CodeGemmaConfig2B", CODEGEMMA_2B), ("CodeGemmaConfig7B", CODEGEMMA_7B)]
)
def test_a_class_of_nemo_2_brings_its_sizes(tmp_path: Path, name: str, expected: object) -> None:
    (tmp_path / "context").mkdir()
    model = {"config": {"_target_": f"nemo.collections.llm.gpt.model.gemma.{name}", "layernorm_epsilon": "1e-06"}}
    (tmp_path / "context" / "model.yaml").write_text(yaml.safe_dump(model))
    assert read_config(tmp_path) == expected


UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    ({"apply_embedding_scaling": False}, "apply_embedding_scaling is not set: only Gemma"),
    ({"activation": "swiglu"}, "activation='swiglu' is not supported; geglu is"),
    ({"normalization": "layernorm1p"}, "normalization='layernorm1p' is not supported; rmsnorm is"),
    ({"position_embedding_type": "learned_absolute"}, "position_embedding_type='learned_absolute'"),
    ({"rotary_percentage": 0.5}, "rotary_percentage='0.5' is not supported"),
    ({"bias": True}, "bias='True' is not supported"),
    ({"num_layers": 10**9}, "num_layers=1000000000 is no integer from 1 to 1024"),
    ({"num_layers": None}, "num_layers is missing"),
    ({"layernorm_epsilon": "small"}, "layernorm_epsilon='small' is no positive number"),
    ({"num_query_groups": 3}, "num_attention_heads=4 is no multiple of num_query_groups=3"),
    ({"hidden_size": [1, 2]}, "hidden_size=a list is no integer"),
    ({"tokenizer": {"model": "nemo:../../etc/passwd"}}, "its tokenizer '../../etc/passwd' is missing"),
]


@pytest.mark.parametrize(("changes", "message"), UNSUPPORTED)
def test_an_unsupported_configuration_is_refused_by_field(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_nemo1(tmp_path / "model", WIDE, **changes)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path / "model")


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['touch run']",
        "a: &a [1, 2]\nb: {<<: *a}",
        "[" * 50_000,
        "a: 'open",
        "- 1",
        "a: &a [*a]",
        "x: " + "9" * 10_000,
        "\x00",
        "",
    ],
)
def test_yaml_that_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "model_config.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=r"model_config\.yaml: "):
        open_checkpoint(tmp_path)
    assert not Path("run").exists()


def nested_aliases(levels: int) -> str:
    """YAML whose last name, `z`, stands for ten to the power of `levels`."""
    lines = ["a0: &a0 x", *(f"a{n + 1}: &a{n + 1} [{','.join([f'*a{n}'] * 10)}]" for n in range(levels))]
    return "\n".join([*lines, f"z: *a{levels}", ""])


@pytest.mark.parametrize("levels", [6, 300])
def test_aliases_that_expand_without_end_are_refused(tmp_path: Path, levels: int) -> None:
    (tmp_path / "model_config.yaml").write_text(nested_aliases(levels))
    with pytest.raises(CheckpointError, match=r"model_config\.yaml: it is not valid YAML"):
        open_checkpoint(tmp_path)


def test_an_alias_stands_for_what_it_names(tmp_path: Path) -> None:
    write_nemo1(tmp_path, WIDE, num_layers=None)
    file = tmp_path / "model_config.yaml"
    file.write_text("x: &layers 3\n" + file.read_text().replace("num_layers: null", "num_layers: *layers"))
    assert read_config(tmp_path).num_layers == 3


def test_the_tokenizer_of_a_checkpoint_must_be_one(tmp_path: Path) -> None:
    write_nemo1(tmp_path / "model", WIDE)
    (tmp_path / "model" / TOKENIZER).write_bytes(b"\xff" * 100)
    with pytest.raises(CheckpointError, match="its tokenizer is not a SentencePiece model"):
        open_checkpoint(tmp_path / "model")
