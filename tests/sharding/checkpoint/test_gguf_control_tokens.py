"""Which tokens of a GGUF mark fill-in-the-middle: by key, by text, or as CodeGemma has them."""

from collections.abc import Mapping
from pathlib import Path

import gguf
import pytest
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from serving.gateway.text.tokenizers import load_tokenizer
from sharding.checkpoint import CheckpointError
from sharding.checkpoint.gguf.control_tokens import fim_ids
from tests.data.codegemma_tokenizer import CODEGEMMA_TOKENIZER

FIM = {67: "<|fim_prefix|>", 68: "<|fim_middle|>", 69: "<|fim_suffix|>", 70: "<|file_separator|>"}
UNUSED = [f"<unused{token_id - 7}>" if token_id in FIM else f"token {token_id}" for token_id in range(80)]
WITH_TEXTS = [FIM.get(token_id, text) for token_id, text in enumerate(UNUSED)]
NEW_KEYS = {"fim_pre_token_id": 67, "fim_mid_token_id": 68, "fim_suf_token_id": 69, "fim_sep_token_id": 70}
OLD_KEYS = {"prefix_token_id": 67, "middle_token_id": 68, "suffix_token_id": 69, "eot_token_id": 70}


def ids(tokens: list[str], keys: Mapping[str, object], name: str = "gemma") -> dict[int, str]:
    return fim_ids({"general.name": name} | {f"tokenizer.ggml.{key}": value for key, value in keys.items()}, tokens)


@pytest.mark.parametrize("keys", [{}, OLD_KEYS, NEW_KEYS, {"eot_token_id": 107}])
def test_a_vocabulary_that_names_them_needs_no_keys(keys: dict[str, int]) -> None:
    assert ids(WITH_TEXTS, keys) == FIM


@pytest.mark.parametrize("name", ["codegemma-2b", "CodeGemma 7b It", "Code_Gemma"])
@pytest.mark.parametrize("keys", [{}, OLD_KEYS, NEW_KEYS])
def test_a_codegemma_whose_vocabulary_does_not_name_them_has_them(name: str, keys: dict[str, int]) -> None:
    assert ids(UNUSED, keys, name) == FIM


@pytest.mark.parametrize("keys", [{}, OLD_KEYS, NEW_KEYS])
def test_another_gemma_has_none_whatever_keys_its_converter_wrote(keys: dict[str, int]) -> None:
    assert ids(UNUSED, keys) == {}


def test_a_key_comes_before_codegemmas_own_ids() -> None:
    moved = [*UNUSED]
    moved[40], moved[67] = "<unused33>", "text"
    assert ids(moved, {"fim_pre_token_id": 40}, "codegemma")[40] == "<|fim_prefix|>"


def test_the_newer_key_comes_first() -> None:
    moved = [*UNUSED]
    moved[40] = "<unused33>"
    assert ids(moved, {"fim_pre_token_id": 40, "prefix_token_id": 67}, "codegemma")[40] == "<|fim_prefix|>"


@pytest.mark.parametrize("value", [-1, 80, 10**9, "67"])
def test_a_key_that_names_no_token_is_refused(value: object) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.ggml\.fim_pre_token_id=\S+ is no id of the vocabulary"):
        ids(WITH_TEXTS, {"fim_pre_token_id": value})


def test_a_key_that_contradicts_the_vocabulary_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"suffix_token_id=68, but the token <\|fim_suffix\|> is 69"):
        ids(WITH_TEXTS, {"suffix_token_id": 68})


def write_vocabulary(file: Path, eot: int, unnamed: bool) -> Path:
    """CodeGemma's vocabulary in a GGUF without tensors."""
    model = ModelProto.FromString(CODEGEMMA_TOKENIZER.read_bytes())
    writer = gguf.GGUFWriter(file, "gemma")
    writer.add_name("codegemma-7b-it")
    writer.add_tokenizer_model("llama")
    texts = [piece.piece for piece in model.pieces]
    if unnamed:
        texts[67:71] = [f"<unused{number}>" for number in range(60, 64)]
    writer.add_token_list(texts)
    writer.add_token_scores([piece.score for piece in model.pieces])
    writer.add_token_types([piece.type for piece in model.pieces])
    writer.add_eot_token_id(eot)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return file


@pytest.mark.parametrize(("eot", "unnamed"), [(70, False), (107, True)])
def test_a_turn_ends_at_107_whatever_the_file_says(tmp_path: Path, eot: int, unnamed: bool) -> None:
    tokenizer = load_tokenizer(write_vocabulary(tmp_path / "model.gguf", eot, unnamed))
    assert {text: tokenizer.control_id(text) for text in FIM.values()} == {text: key for key, text in FIM.items()}
    assert tokenizer.terminator_ids == {1, 67, 68, 69, 70, 106, 107}
