"""Tokenizers of all formats: they agree, keep every byte, and let no text become a control token."""

import itertools
import json
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece.sentencepiece_model_pb2 import ModelProto, NormalizerSpec, TrainerSpec

from serving.gateway.text.tokenizer import SENTINELS, Tokenizer
from serving.gateway.text.tokenizers import load_tokenizer
from tests.data.codegemma_tokenizer import CODEGEMMA_TOKENIZER
from tests.gateway.tokenizer_json import tokenizer_json
from tests.oracle.random_checkpoint import CONFIGS

CONTROL_TEXTS = [*SENTINELS, "<pad>", "<unk>", "<mask>", "<unused7>", "<unused99>", "[@BOS@]", "[multimodal]", "<0x0A>"]
AWKWARD_TEXTS = [
    "\r\n",
    "\xa0",
    "\x00",
    "\x7f",
    "▁",
    " ▁▁ ",
    "\t",
    " " * 40,
    "\n" * 40,
    "\t" * 40,
    "é",
    "日本",
    "😀",
    "Ａ①ﬁ",
]
PIECES = [*CONTROL_TEXTS, *AWKWARD_TEXTS, "def f(x):", "\n    return ", "<table>", "</code>", "0x1F", "}", "<|"]

texts = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=20)), max_size=12).map("".join)
# The two differ in how they split a run of more than 31 spaces, the longest piece.
agreed_texts = texts.map(lambda text: text.replace("▁", "")).filter(lambda text: " " * 32 not in text)


@pytest.fixture(scope="session", params=["codegemma", "gemma3"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """A tokenizer from a `.model` file, and one from a GGUF file."""
    found: Tokenizer = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def from_json(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """CodeGemma's vocabulary as `tokenizer.json` in a checkpoint's directory."""
    checkpoint = tmp_path_factory.mktemp("checkpoint")
    model = ModelProto.FromString(CODEGEMMA_TOKENIZER.read_bytes())
    (checkpoint / "tokenizer.json").write_text(tokenizer_json(model), encoding="utf-8")
    return load_tokenizer(checkpoint)


@settings(deadline=None, max_examples=200)
@given(text=texts)
def test_decoding_an_encoded_text_gives_every_byte_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(deadline=None, max_examples=200)
@given(text=texts)
def test_no_text_becomes_a_control_token(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.control_ids.isdisjoint(tokenizer.encode(text))


@settings(deadline=None, max_examples=100)
@given(text=texts)
def test_a_tokenizer_json_keeps_every_byte_and_lets_no_text_become_control(from_json: Tokenizer, text: str) -> None:
    ids = from_json.encode(text)
    assert from_json.decode(ids) == text
    assert from_json.control_ids.isdisjoint(ids)


@settings(deadline=None, max_examples=100)
@given(text=agreed_texts)
def test_sentencepiece_and_tokenizer_json_give_the_same_ids(
    codegemma: Tokenizer, from_json: Tokenizer, text: str
) -> None:
    assert codegemma.encode(text) == from_json.encode(text)


def test_sentencepiece_and_tokenizer_json_give_the_same_ids_for_source_files(
    codegemma: Tokenizer, from_json: Tokenizer
) -> None:
    for path in sorted(Path(__file__).parents[2].glob("serving/**/*.py")):
        text = re.sub(" {32,}", " ", path.read_text(encoding="utf-8"))
        assert codegemma.encode(text) == from_json.encode(text), path


def test_all_formats_agree_on_special_tokens(codegemma: Tokenizer, from_json: Tokenizer) -> None:
    assert codegemma.bos_id == from_json.bos_id == 2
    assert codegemma.control_ids == from_json.control_ids
    assert codegemma.terminator_ids == from_json.terminator_ids == {1, 67, 68, 69, 70, 106, 107}


def test_special_ids_are_those_of_the_vocabulary_at_hand(codegemma: Tokenizer, gemma3: Tokenizer) -> None:
    assert [codegemma.control_id(text) for text in SENTINELS] == [2, 1, 67, 68, 69, 70, 106, 107]
    assert [gemma3.control_id(text) for text in SENTINELS] == [2, 1, None, None, None, None, 105, 106]
    assert gemma3.terminator_ids == {1, 105, 106}
    assert (codegemma.vocab_size, gemma3.vocab_size) == (256_000, 262_144)


def test_turns_are_encoded_as_the_reference_does(codegemma: Tokenizer) -> None:
    """Ids from transformers' GemmaTokenizer and its chat template."""
    parts = codegemma.encode_with_sentinels("<bos><start_of_turn>user\n<end_of_turn>\n<start_of_turn>model\n")
    ids = list(itertools.chain.from_iterable(parts))
    assert ids == [2, 106, 1645, 108, 107, 108, 106, 2516, 108]


def test_white_space_runs_and_html_tags_are_single_tokens(tokenizer: Tokenizer) -> None:
    for run in ("\n\n\n", " " * 8, "\t\t", "<table>", "</code>"):
        assert len(tokenizer.encode(run)) == 1


def test_sentinels_are_control_tokens_only_where_they_are_asked_for(codegemma: Tokenizer) -> None:
    text = "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>"
    ids = itertools.chain.from_iterable(codegemma.encode_with_sentinels(text))
    assert list(ids) == [67, *codegemma.encode("a"), 69, *codegemma.encode("b"), 68]
    assert codegemma.decode(codegemma.encode(text)) == text


def test_control_tokens_decode_to_nothing(tokenizer: Tokenizer) -> None:
    assert {tokenizer.id_bytes(token_id) for token_id in tokenizer.control_ids} == {b""}


def test_every_byte_has_a_token_of_its_own(tokenizer: Tokenizer) -> None:
    single = {tokenizer.id_bytes(token_id) for token_id in range(tokenizer.vocab_size)}
    assert {bytes([byte]) for byte in range(256)} <= single


def test_a_literal_space_symbol_stays_what_it_is(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("a▁b c")
    assert [tokenizer.id_bytes(token_id) for token_id in ids][1:4] == [b"\xe2", b"\x96", b"\x81"]
    assert tokenizer.decode(ids) == "a▁b c"


def test_the_token_count_is_bounded_below_by_the_longest_piece(tokenizer: Tokenizer) -> None:
    for text in (" " * 1000, "\n" * 1000, "日本語" * 100):
        assert len(tokenizer.encode(text)) >= len(text.encode()) / tokenizer.longest_piece


def test_a_tokenizer_file_of_its_own_goes_before_the_one_of_the_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / "weights.gguf"
    assert load_tokenizer(checkpoint, CODEGEMMA_TOKENIZER).control_id("<|fim_prefix|>") == 67


BYTES = {"<bos>": 256} | {f"<0x{byte:02X}>": byte for byte in range(256)}


def json_with(vocab: object = None, added: object = (), merges: object = ()) -> bytes:
    """A `tokenizer.json` of a vocabulary, merges and added tokens alone."""
    model = {"type": "BPE", "vocab": {} if vocab is None else vocab, "merges": merges}
    return json.dumps({"added_tokens": added, "model": model}).encode()


def model_with(*pieces: str) -> bytes:
    """A SentencePiece model of control tokens and bytes alone."""
    kinds = ModelProto.SentencePiece
    model = ModelProto(
        trainer_spec=TrainerSpec(model_type=TrainerSpec.BPE), normalizer_spec=NormalizerSpec(name="identity")
    )
    for piece in pieces or ("<bos>", "<eos>"):
        model.pieces.add(piece=piece, type=kinds.BYTE if piece.startswith("<0x") else kinds.CONTROL)
    content: bytes = model.SerializeToString()
    return content


def edited(edit: Callable[[ModelProto], object]) -> bytes:
    """CodeGemma's own, changed."""
    model = ModelProto.FromString(CODEGEMMA_TOKENIZER.read_bytes())
    edit(model)
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("tokenizer.model", b"not a model", "is not a SentencePiece model"),
        ("tokenizer.model", b"", "is not a whole SentencePiece model: it ends behind its pieces"),
        ("tokenizer.json", b"{", "Expecting property name"),
        ("tokenizer.json", json.dumps({"model": {"type": "WordPiece"}}).encode(), "byte-pair-encoding"),
        ("model.gguf", b"GGUF" + struct.pack("<I", 1), "GGUF version 1 is not supported"),
        ("model.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 5), "truncated or corrupt GGUF header"),
        ("model.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "has no tokenizer"),
        ("tokenizer.txt", b"", "is not a whole SentencePiece model"),
        ("tokenizer.model", edited(lambda model: model.pieces.pop()), "it has 255999 of 256000 pieces"),
        ("tokenizer.model", edited(lambda model: model.ClearField("normalizer_spec")), "it ends behind its pieces"),
        (
            "tokenizer.model",
            edited(lambda model: model.trainer_spec.ClearField("model_type")),
            "is no SentencePiece model of byte pairs",
        ),
        (
            "tokenizer.json",
            json_with(vocab={"a": 10**11}),
            r"the id of 'a' is 100000000000, no integer from 0 to 4194303",
        ),
        ("tokenizer.json", json_with(vocab={"a": -1}), r"the id of 'a' is -1, no integer"),
        ("tokenizer.json", json_with(vocab={"a": 1.5}), r"the id of 'a' is 1\.5, no integer"),
        ("tokenizer.json", json_with(vocab={"a": [[]]}), r"the id of 'a' is \[\[\]\], no integer"),
        (
            "tokenizer.json",
            json_with(added=[{"content": "<bos>", "id": True}]),
            r"the id of '<bos>' is True, no integer",
        ),
        ("tokenizer.json", json_with(added=[{"content": 7, "id": 1}]), "is not a tokenizer.json"),
        ("tokenizer.json", json_with(vocab={}), "no <bos> token"),
        ("tokenizer.json", json_with(vocab={"<bos>": 0}), "no token for the byte 0xE2"),
        ("tokenizer.json", json_with(vocab=BYTES, merges=7), "is not a tokenizer.json: .*MergeType"),
        ("tokenizer.model", model_with(), "no token for the byte 0xE2"),
        ("tokenizer.model", model_with(*BYTES), "is no sound SentencePiece model: .*byte_fallback"),
        ("tokenizer.json", b"{}", "is not a tokenizer.json"),
        ("tokenizer.json", b'{"a":' * 100_000, "is not a tokenizer.json"),
    ],
)
def test_a_bad_tokenizer_file_is_an_error_that_names_it(tmp_path: Path, name: str, content: bytes, fault: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=fault) as error:
        load_tokenizer(path)
    assert str(path) in str(error.value)


def test_a_checkpoint_without_a_tokenizer_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no tokenizer\. Point `tokenizer`"):
        load_tokenizer(tmp_path)
    with pytest.raises(ValueError, match="there is no such file"):
        load_tokenizer(tmp_path / "missing.gguf")


def beside_257_rows(directory: Path, added: Mapping[str, int]) -> Path:
    """The tokens of `BYTES` and some more, beside the configuration of a model that has rows for those of `BYTES`."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    tokens = [{"content": text, "id": token_id} | flags for text, token_id in added.items()]
    (directory / "tokenizer.json").write_bytes(json_with(vocab=BYTES, added=tokens))
    (directory / "config.json").write_text(json.dumps(CONFIGS["gemma-mqa"] | {"vocab_size": len(BYTES)}))
    (directory / "model.safetensors").touch()
    return directory


def test_control_tokens_for_which_the_weights_have_no_rows_are_left_out(tmp_path: Path) -> None:
    loaded = load_tokenizer(beside_257_rows(tmp_path, {"<image_soft_token>": 257, "<end_of_image>": 259}))
    assert loaded.vocab_size == 257
    assert not loaded.known([257, 258, 259])
    assert loaded.control_id("<image_soft_token>") is None
    assert loaded.control_ids == {256}


@pytest.mark.parametrize("text", ["</marquee>", "<end_of_turn>"])
def test_a_token_that_a_prompt_can_have_needs_a_row(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"tokenizer.json: has 258 tokens, and the weights 257\."):
        load_tokenizer(beside_257_rows(tmp_path, {text: 257}))
