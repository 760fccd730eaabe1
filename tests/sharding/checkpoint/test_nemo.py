"""NeMo checkpoints of any layout give the parameters of the Hugging Face form, and damaged ones are refused."""

import gzip
import io
import shutil
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
import yaml

from sharding.checkpoint import CheckpointError, open_checkpoint, read_config, read_tokenizer
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B
from tests.oracle.random_checkpoint import CONFIGS, random_tensors
from tests.sharding.checkpoint.files import WIDE, Tensors, expected_parameters, plain
from tests.sharding.checkpoint.nemo_files import (
    BLOSC,
    NEMO_LAYOUTS,
    TOKENIZER,
    archived,
    megatron_tensors,
    nemo1_config,
    stacked,
    tar_with,
    tokenizer,
    write_nemo1,
    write_nemo1_zarr,
    write_nemo2,
    write_nemo2_stacked,
    write_parallel,
    write_ranks,
    write_torch_dist,
)
from tests.sharding.checkpoint.torch_files import write_torch_file

MODELS = {"mqa": CONFIGS["gemma-mqa"], "mha": CONFIGS["gemma-mha"], "groups": WIDE}
QKV = "decoder.layers.1.self_attention.linear_qkv.weight"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def layers(config: dict[str, Any]) -> int:
    return int(config["num_hidden_layers"])


def in_archive(name: str, mode: Literal["w:", "w:gz"] = "w:") -> Callable[..., Path]:
    def write(directory: Path, config: dict[str, Any], tensors: Tensors) -> Path:
        return archived(NEMO_LAYOUTS[name](directory, config, tensors), directory.with_name("model.nemo"), mode)

    return write


LAYOUTS: dict[str, Callable[..., Path]] = NEMO_LAYOUTS | {
    "flat in a tar": in_archive("flat"),
    "flat in a tar.gz": in_archive("flat", "w:gz"),
    "zarr in a tar": in_archive("zarr"),
    "zarr in blosc in a tar.gz": in_archive("zarr in blosc", "w:gz"),
    "torch_dist of 4 ranks in a tar": in_archive("torch_dist of 4 ranks"),
    "NeMo 2 in a tar": in_archive("NeMo 2"),
}


def assert_parameters(path: Path, config: dict[str, Any], tensors: Tensors, rounding: float = 0.0) -> None:
    checkpoint = open_checkpoint(path)
    expected = expected_parameters(config, tensors)
    assert checkpoint.format == "NVIDIA NeMo"
    assert checkpoint.tensors.keys() == expected.keys()
    for name, source in checkpoint.tensors.items():
        found = plain(source).read((), np.float32)
        assert found.shape == expected[name].shape
        # A norm that is stored as 1 + w has lost the last bits of w.
        allowed = rounding if "norm" in name else 0.0
        np.testing.assert_allclose(found, expected[name].astype(np.float32), rtol=0, atol=allowed, err_msg=name)
        part = tuple(slice(size // 4, size // 2) for size in source.shape)  # of a device
        np.testing.assert_array_equal(plain(source).read(part, np.float32), found[part], err_msg=name)


@pytest.mark.parametrize(
    ("layout", "model"),
    [(layout, "groups") for layout in LAYOUTS]
    + [(layout, model) for layout in ("flat", "zarr", "NeMo 2") for model in ("mqa", "mha")],
)
def test_every_layout_gives_the_parameters_of_the_hugging_face_form(tmp_path: Path, layout: str, model: str) -> None:
    config = MODELS[model]
    tensors = dict(random_tensors(config, 3))
    path = LAYOUTS[layout](tmp_path / "model", config, tensors)
    assert_parameters(path, config, tensors, 0.0 if "NeMo 2" in layout else 1.2e-7)


@pytest.mark.parametrize("layout", ["flat in a tar", "zarr in a tar", "zarr in zlib", "torch_dist", "NeMo 2"])
@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_weights_of_16_bits_are_read_as_they_are(tmp_path: Path, layout: str, dtype: npt.DTypeLike) -> None:
    tensors = {name: value.astype(dtype) for name, value in random_tensors(WIDE, 3).items()}
    path = LAYOUTS[layout](tmp_path / "model", WIDE, tensors)
    assert_parameters(path, WIDE, tensors, 0.0 if "NeMo 2" in layout else 2**-8)


@pytest.mark.parametrize(("tensor_ranks", "stages"), [(2, 1), (1, 2), (2, 2)])
def test_files_of_ranks_are_put_together(tmp_path: Path, tensor_ranks: int, stages: int) -> None:
    tensors = dict(random_tensors(WIDE, 3))
    write_parallel(tmp_path / "model", WIDE, tensors, tensor_ranks, stages)
    assert_parameters(archived(tmp_path / "model", tmp_path / "model.nemo"), WIDE, tensors, 1.2e-7)


def test_a_head_that_is_the_embedding_is_left_out(tmp_path: Path) -> None:
    tensors = dict(random_tensors(WIDE, 3))
    theirs = megatron_tensors(WIDE, tensors)
    theirs["output_layer.weight"] = theirs["embedding.word_embeddings.weight"].copy()
    write_ranks(write_nemo1(tmp_path / "flat", WIDE), theirs, layers(WIDE))
    assert_parameters(tmp_path / "flat", WIDE, tensors, 1.2e-7)
    write_ranks(write_nemo1(tmp_path / "ranks", WIDE, tensor_model_parallel_size=2), theirs, layers(WIDE), 2)
    assert_parameters(tmp_path / "ranks", WIDE, tensors, 1.2e-7)


def test_norms_are_read_as_the_flag_of_the_configuration_says(tmp_path: Path) -> None:
    tensors = dict(random_tensors(WIDE, 3))
    write_nemo1(tmp_path / "one", WIDE, layernorm_zero_centered_gamma=True)
    write_ranks(tmp_path / "one", megatron_tensors(WIDE, tensors, False), layers(WIDE))
    assert_parameters(tmp_path / "one", WIDE, tensors)
    write_nemo2(tmp_path / "two", WIDE, layernorm_zero_centered_gamma=False)
    write_torch_dist(tmp_path / "two" / "weights", stacked(megatron_tensors(WIDE, tensors)), "module.")
    assert_parameters(tmp_path / "two", WIDE, tensors, 1.2e-7)


@pytest.mark.parametrize(
    ("name", "expected"), [("CodeGemmaConfig2B", CODEGEMMA_2B), ("CodeGemmaConfig7B", CODEGEMMA_7B)]
)
def test_a_class_of_nemo_2_brings_its_sizes(tmp_path: Path, name: str, expected: object) -> None:
    (tmp_path / "context").mkdir()
    model = {"config": {"_target_": f"nemo.collections.llm.gpt.model.gemma.{name}", "layernorm_epsilon": "1e-06"}}
    (tmp_path / "context" / "model.yaml").write_text(yaml.safe_dump(model))
    assert read_config(tmp_path) == expected


@pytest.mark.parametrize("layout", ["flat in a tar", "flat in a tar.gz", "NeMo 2"])
def test_the_tokenizer_is_that_of_the_checkpoint(tmp_path: Path, layout: str) -> None:
    path = LAYOUTS[layout](tmp_path / "model", WIDE, dict(random_tensors(WIDE, 3)))
    assert read_tokenizer(path).read() == tokenizer(WIDE["vocab_size"])


def test_a_tar_gz_is_unpacked_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = in_archive("flat", "w:gz")(tmp_path / "model", WIDE, dict(random_tensors(WIDE, 3)))
    open_checkpoint(path)
    open_checkpoint(path)
    assert [record.getMessage() for record in caplog.records if "unpacking" in record.getMessage()] == [
        f"{path}: unpacking it once, into {next((tmp_path / 'cache' / 'codegemma' / 'unpacked').glob('*.tar'))}"
    ]
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_a_gzip_of_several_members_is_unpacked_whole(tmp_path: Path) -> None:
    """As pigz and bgzip write them."""
    tensors = dict(random_tensors(WIDE, 3))
    data = in_archive("flat")(tmp_path / "model", WIDE, tensors).read_bytes()
    cuts = range(0, len(data), 2**16)
    (tmp_path / "model.nemo").write_bytes(
        b"".join(gzip.compress(data[cut : cut + 2**16], 1) for cut in cuts) + bytes(9)
    )
    assert_parameters(tmp_path / "model.nemo", WIDE, tensors, 1.2e-7)


@pytest.mark.parametrize("end", [b"more", gzip.compress(b"more")[:-1]], ids=["no gzip", "cut"])
def test_what_follows_the_members_of_a_gzip_is_refused(tmp_path: Path, end: bytes) -> None:
    path = in_archive("flat", "w:gz")(tmp_path / "model", WIDE, dict(random_tensors(WIDE, 3)))
    path.write_bytes(path.read_bytes() + end)
    with pytest.raises(CheckpointError, match=r"model\.nemo: (damaged gzip|truncated)"):
        open_checkpoint(path)


@pytest.mark.parametrize("content", [bytes(10**6), b"", b"{}"])
def test_a_gzip_of_something_else_is_not_unpacked(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vocabulary.gz").write_bytes(gzip.compress(content))
    with pytest.raises(CheckpointError, match="is no checkpoint of a known form"):
        open_checkpoint(tmp_path / "vocabulary.gz")
    assert not (tmp_path / "cache").exists()


def test_what_a_killed_process_has_left_of_a_tar_is_written_over(tmp_path: Path) -> None:
    tensors = dict(random_tensors(WIDE, 3))
    path = in_archive("flat", "w:gz")(tmp_path / "model", WIDE, tensors)
    open_checkpoint(path)
    [tar] = (tmp_path / "cache").rglob("*.tar")
    content = tar.read_bytes()
    tar.unlink()
    tar.with_name(f"{tar.name}.partial").write_bytes(bytes(2 * len(content)))
    assert_parameters(path, WIDE, tensors, 1.2e-7)
    assert tar.read_bytes() == content
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_a_cache_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = in_archive("flat", "w:gz")(tmp_path / "model", WIDE, dict(random_tensors(WIDE, 3)))
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"model\.nemo: cannot be unpacked: .*cache.*\. Set XDG_CACHE_HOME"):
        open_checkpoint(path)


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


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (member("/etc/passwd"), "leads out of the archive"),
        (member("../model_config.yaml"), "leads out of the archive"),
        (member("a/../../b"), "leads out of the archive"),
        (member("model_weights.ckpt", tarfile.SYMTYPE, "/etc/passwd"), "is a link, a device or sparse"),
        (member("model_weights.ckpt", tarfile.LNKTYPE, "model_config.yaml"), "is a link, a device or sparse"),
        (member("model_weights.ckpt", tarfile.CHRTYPE), "is a link, a device or sparse"),
        (member("model_weights.ckpt", tarfile.FIFOTYPE), "is a link, a device or sparse"),
        (member("model_config.yaml"), r"has two files model_config\.yaml"),
    ],
)
def test_a_member_that_leads_out_of_the_archive_is_refused(tmp_path: Path, info: tarfile.TarInfo, message: str) -> None:
    config = yaml.safe_dump(nemo1_config(WIDE)).encode()
    tar_with(tmp_path / "model.nemo", (member("./model_config.yaml"), config), (info, b"x"))
    with pytest.raises(CheckpointError, match=rf"model\.nemo: .*{message}"):
        open_checkpoint(tmp_path / "model.nemo")


def test_a_gzip_that_unfolds_without_end_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    with tarfile.open(fileobj=header, mode="w:") as archive:
        archive.addfile(member("model_config.yaml"), io.BytesIO(b""))
    bomb = gzip.compress(header.getvalue()[:512] + bytes(2**27))
    (tmp_path / "model.nemo").write_bytes(bomb)
    with pytest.raises(CheckpointError, match=r"model\.nemo: unfolds to more than \d+ bytes"):
        open_checkpoint(tmp_path / "model.nemo")
    assert not list((tmp_path / "cache").rglob("*.partial"))


@pytest.mark.parametrize("mode", ["w:", "w:gz"])
def test_an_archive_that_ends_too_early_is_refused(tmp_path: Path, mode: Literal["w:", "w:gz"]) -> None:
    path = in_archive("flat", mode)(tmp_path / "model", WIDE, dict(random_tensors(WIDE, 3)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"model\.nemo: (truncated|no sound tar)"):
        open_checkpoint(path)


def test_another_archive_is_no_checkpoint(tmp_path: Path) -> None:
    tar_with(tmp_path / "model.nemo", (member("readme"), b"hello"))
    with pytest.raises(CheckpointError, match=r"has neither model_config\.yaml nor context/model\.yaml: it is no NeMo"):
        open_checkpoint(tmp_path / "model.nemo")


def changed(edit: Callable[[Tensors], object]) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        tensors = megatron_tensors(WIDE, dict(random_tensors(WIDE, 3)))
        edit(tensors)
        write_ranks(write_nemo1(directory, WIDE), tensors, 8)

    return write


def zarr_without(name: str) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        write_nemo1_zarr(directory, WIDE, dict(random_tensors(WIDE, 3)))
        next(directory.rglob(name)).unlink()

    return write


def edited(write: Callable[..., Path], name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        write(directory, WIDE, dict(random_tensors(WIDE, 3)))
        file = next(directory.rglob(name))
        data = edit(file.read_bytes())
        assert data != file.read_bytes()
        file.write_bytes(data)

    return damage


def untied(directory: Path) -> None:
    tensors = megatron_tensors(WIDE, dict(random_tensors(WIDE, 3)))
    head = tensors["embedding.word_embeddings.weight"].copy()
    head[0] += 1
    write_ranks(write_nemo1(directory, WIDE), tensors | {"output_layer.weight": head}, layers(WIDE))


def on_one_rank(name: str) -> Callable[[Path], None]:
    """A tensor that the file of one rank alone has."""

    def write(directory: Path) -> None:
        tensors = megatron_tensors(WIDE, dict(random_tensors(WIDE, 3)))
        for folder in (directory, directory / "more"):
            write_nemo1(folder, WIDE, tensor_model_parallel_size=2)
            write_ranks(folder, tensors, layers(WIDE), 2)
            tensors["decoder.extra.weight"] = np.ones((4, 4), np.float32)
        (directory / "more" / name).rename(directory / "new")
        shutil.rmtree(directory / name)
        shutil.rmtree(directory / "more")
        (directory / "new").rename(directory / name)

    return write


def whole_beside_ranks(directory: Path) -> None:
    write_parallel(directory, WIDE, dict(random_tensors(WIDE, 3)), 2, 1)
    write_torch_file(directory / "model_weights.ckpt", {})


def ranks_twice(directory: Path) -> None:
    write_parallel(directory, WIDE, dict(random_tensors(WIDE, 3)), 2, 1)
    shutil.copytree(directory / "mp_rank_01", directory / "tp_rank_01_pp_rank_000")


def no_ranks(directory: Path) -> None:
    write_nemo1(directory, WIDE, tensor_model_parallel_size=4)
    write_ranks(directory, megatron_tensors(WIDE, dict(random_tensors(WIDE, 3))), layers(WIDE), 2)


DAMAGED: list[tuple[str, Callable[[Path], object], str]] = [
    ("missing", changed(lambda t: t.pop(QKV)), rf"tensor {QKV} \(attention\.q\) \(parameter layers\.1\.attention\.q\)"),
    (
        "superfluous",
        changed(lambda t: t.update({"decoder.x": t[QKV]})),
        r"model_weights\.ckpt: tensor decoder\.x is not",
    ),
    ("layer too many", changed(lambda t: t.update({QKV.replace("1", "7"): t[QKV]})), "is not used by this model"),
    (
        "rows",
        changed(lambda t: t.update({QKV: t[QKV][:-1]})),
        rf"tensor {QKV} has 511 rows; the configuration asks for 512",
    ),
    (
        "vocabulary",
        changed(lambda t: t.update({"embedding.word_embeddings.weight": t[QKV][:90]})),
        "has 90 rows for a vo",
    ),
    ("no weights", lambda directory: write_nemo1(directory, WIDE), "has no weights: neither"),
    (
        "untied head",
        untied,
        r"model_weights\.ckpt: tensor \S*output_layer\.weight differs from \S*word_embeddings\.weight",
    ),
    (
        "on rank 0 alone",
        on_one_rank("mp_rank_00"),
        r"tensor decoder\.extra\.weight is missing in mp_rank_01/model_weights\.ckpt",
    ),
    (
        "on rank 1 alone",
        on_one_rank("mp_rank_01"),
        r"tensor decoder\.extra\.weight is missing in mp_rank_00/model_weights\.ckpt",
    ),
    ("whole beside ranks", whole_beside_ranks, r"has both model_weights\.ckpt and mp_rank_0\d/model_weights\.ckpt"),
    ("ranks twice", ranks_twice, r"has both (mp_rank_01|tp_rank_01_pp_rank_000)/model_weights\.ckpt and "),
    ("rank missing", no_ranks, "has the files of 2 x 1 tensor and pipeline ranks, .* tells of 4 x 1"),
    ("chunk missing", zarr_without("0.1.0"), r"mlp\.linear_fc1\.weight: its chunk 0\.1\.0 is missing"),
    ("chunk cut", edited(write_nemo1_zarr, "0.0.1", lambda data: data[:-1]), "a chunk of shape .* takes .* bytes, but"),
    (
        "zarr dtype",
        edited(write_nemo1_zarr, ".zarray", lambda data: data.replace(b'"<f4"', b'"|V4"')),
        "dtype '|V4' is none",
    ),
    (
        "zarr of many",
        edited(write_nemo1_zarr, ".zarray", lambda d: d.replace(b'"chunks":[1,', b'"chunks":[3,')),
        "do not fill",
    ),
    ("metadata cut", edited(write_nemo2_stacked, ".metadata", lambda data: data[:-9]), r"\.metadata: damaged: "),
    (
        "metadata evil",
        edited(write_nemo2_stacked, ".metadata", lambda d: d.replace(b"pathlib\nPosixPath", b"posix\nsystem")),
        "posix",
    ),
    (
        "part cut",
        edited(write_nemo2_stacked, "__0_1.distcp", lambda data: data[:-1]),
        r"truncated: tensor module\.\S+ ends at byte",
    ),
    (
        "file of parts",
        edited(write_nemo2_stacked, ".metadata", lambda d: d.replace(b"__0_1", b"../_1")),
        "'../_1.distcp', which is miss",
    ),
]


@pytest.mark.parametrize(("write", "message"), [case[1:] for case in DAMAGED], ids=[case[0] for case in DAMAGED])
def test_a_damaged_checkpoint_is_refused_by_file_and_tensor(
    tmp_path: Path, write: Callable[[Path], object], message: str
) -> None:
    write(tmp_path / "model")
    with pytest.raises(CheckpointError, match=message) as raised:
        open_checkpoint(tmp_path / "model")
    assert str(tmp_path / "model") in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("compressor", [BLOSC, {"id": "zlib", "level": 1}], ids=lambda compressor: compressor["id"])
@pytest.mark.parametrize("edit", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: bytes(len(data))])
def test_a_damaged_compressed_chunk_is_refused_as_it_is_read(
    tmp_path: Path, compressor: dict[str, object], edit: Callable[[bytes], bytes]
) -> None:
    write_nemo1_zarr(tmp_path / "model", WIDE, dict(random_tensors(WIDE, 3)), compressor)
    file = tmp_path / "model" / "model_weights" / "model.decoder.layers.mlp.linear_fc2.weight" / "1.0.0"
    file.write_bytes(edit(file.read_bytes()))
    checkpoint = open_checkpoint(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"linear_fc2\S* has a damaged chunk"):
        plain(checkpoint.tensors["layers.1.mlp.down"]).read(())


def test_a_compressed_chunk_that_unfolds_to_more_is_refused(tmp_path: Path) -> None:
    write_nemo1_zarr(tmp_path / "model", WIDE, dict(random_tensors(WIDE, 3)), {"id": "zlib", "level": 1})
    file = tmp_path / "model" / "model_weights" / "model.decoder.layers.mlp.linear_fc2.weight" / "1.0.0"
    file.write_bytes(zlib.compress(bytes(2**26)))
    checkpoint = open_checkpoint(tmp_path / "model")
    with pytest.raises(CheckpointError, match="unfolds to more than"):
        plain(checkpoint.tensors["layers.1.mlp.down"]).read(())


def test_the_tokenizer_of_a_checkpoint_must_be_one(tmp_path: Path) -> None:
    write_nemo1(tmp_path / "model", WIDE)
    (tmp_path / "model" / TOKENIZER).write_bytes(b"\xff" * 100)
    with pytest.raises(CheckpointError, match="its tokenizer is no SentencePiece model"):
        open_checkpoint(tmp_path / "model")
