"""NeMo checkpoints of any layout give the parameters of the Hugging Face form."""

from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from sharding.checkpoint import read_tokenizer
from tests.oracle.random_checkpoint import CONFIGS, random_tensors
from tests.sharding.checkpoint.files import WIDE
from tests.sharding.checkpoint.nemo_archives import archived, in_archive
from tests.sharding.checkpoint.nemo_files import (
    NEMO_LAYOUTS,
    megatron_tensors,
    stacked,
    tokenizer,
    write_nemo1,
    write_nemo2,
    write_parallel,
    write_ranks,
    write_torch_dist,
)
from tests.sharding.checkpoint.nemo_parameters import assert_parameters, layers

MODELS = {"mqa": CONFIGS["gemma-mqa"], "mha": CONFIGS["gemma-mha"], "groups": WIDE}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


LAYOUTS: dict[str, Callable[..., Path]] = NEMO_LAYOUTS | {
    "flat in a tar": in_archive("flat"),
    "flat in a tar.gz": in_archive("flat", "w:gz"),
    "zarr in a tar": in_archive("zarr"),
    "zarr in blosc in a tar.gz": in_archive("zarr in blosc", "w:gz"),
    "torch_dist of 4 ranks in a tar": in_archive("torch_dist of 4 ranks"),
    "NeMo 2 in a tar": in_archive("NeMo 2"),
}


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


@pytest.mark.parametrize("layout", ["flat in a tar", "flat in a tar.gz", "NeMo 2"])
def test_the_tokenizer_is_that_of_the_checkpoint(tmp_path: Path, layout: str) -> None:
    path = LAYOUTS[layout](tmp_path / "model", WIDE, dict(random_tensors(WIDE, 3)))
    assert read_tokenizer(path).read() == tokenizer(WIDE["vocab_size"])
