"""Checkpoints of CodeGemma 2B's shape with random weights, in every form that is read."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from sharding.checkpoint import Checkpoint
from sharding.checkpoint.gguf.writer import GgufType, write_gguf
from sharding.checkpoint.huggingface.writer import write_huggingface
from sharding.checkpoint.matrix import Matrix, matrix_shape
from sharding.checkpoint.source import TensorSource
from sharding.checkpoint.tokenizer import tokenizer_file
from sharding.config import CODEGEMMA_2B
from sharding.parameters import parameters
from tests.data.codegemma_tokenizer import CODEGEMMA_TOKENIZER
from tests.oracle.random_checkpoint import CONFIGS
from tests.sharding.checkpoint import google_files, nemo_archives, nemo_files
from tests.sharding.checkpoint.files import Tensors
from tests.sharding.checkpoint.jlama_files import jlama_tensors, write_jlama


@dataclass(frozen=True, kw_only=True)
class _Random(Matrix):
    """Numbers of a weight's size, the same ones again and again."""

    some: npt.NDArray[np.float32]

    def numbers(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        return np.resize(self.some, shape)


def _some() -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(2**20, np.float32) * np.float32(0.02)


def random_model(layers: int) -> Checkpoint:
    """A model in no file."""
    config, some = replace(CODEGEMMA_2B, num_layers=layers), _some()
    tensors = {
        path: TensorSource(
            matrix=_Random(
                name=path, file=Path("random"), shape=matrix_shape(parameter.stored_shape), type="F32", some=some
            ),
            shape=parameter.shape,
            row_axes=len(parameter.outputs),
        )
        for path, parameter in parameters(config).items()
    }
    return Checkpoint(Path("random"), "random", config, tensors, tokenizer_file(CODEGEMMA_TOKENIZER))


def _own(quantize: str | None, directory: Path, layers: int) -> Path:
    write_huggingface(random_model(layers).quantised(quantize), directory, ml_dtypes.bfloat16)
    return directory


def _gguf(kind: GgufType, directory: Path, layers: int) -> Path:
    file = directory / "model.gguf"
    write_gguf(random_model(layers), file, kind)
    return file


def _foreign(write: Callable[[Path, dict[str, Any], Tensors], object], directory: Path, layers: int) -> Path:
    """By the writers of the tests, which have all of a model in memory; layers share theirs."""
    config = CONFIGS["gemma-mqa"] | {
        "vocab_size": CODEGEMMA_2B.vocab_size,
        "hidden_size": CODEGEMMA_2B.embed_dim,
        "intermediate_size": CODEGEMMA_2B.mlp_dim,
        "num_hidden_layers": layers,
    }
    some = _some().astype(ml_dtypes.bfloat16)
    embed, mlp, heads = CODEGEMMA_2B.embed_dim, CODEGEMMA_2B.mlp_dim, CODEGEMMA_2B.num_heads * CODEGEMMA_2B.head_dim
    layer = {
        "input_layernorm": (embed,),
        "self_attn.q_proj": (heads, embed),
        "self_attn.k_proj": (CODEGEMMA_2B.head_dim, embed),
        "self_attn.v_proj": (CODEGEMMA_2B.head_dim, embed),
        "self_attn.o_proj": (embed, heads),
        "post_attention_layernorm": (embed,),
        "mlp.gate_proj": (mlp, embed),
        "mlp.up_proj": (mlp, embed),
        "mlp.down_proj": (embed, mlp),
    }
    arrays = {name: np.resize(some, shape) for name, shape in layer.items()}
    tensors: Tensors = {
        f"model.layers.{number}.{name}.weight": array for number in range(layers) for name, array in arrays.items()
    }
    tensors["model.embed_tokens.weight"] = np.resize(some, (config["vocab_size"], embed))
    tensors["model.norm.weight"] = np.resize(some, embed)
    found = write(directory, config, tensors)
    return found if isinstance(found, Path) else directory


def _nemo1(directory: Path, config: dict[str, Any], tensors: Tensors) -> Path:
    with tempfile.TemporaryDirectory(dir=directory) as unpacked:
        nemo_files.write_flat(Path(unpacked) / "model", config, tensors)
        return nemo_archives.archived(Path(unpacked) / "model", directory / "model.nemo")


def _orbax(is_database: bool, directory: Path, config: dict[str, Any], tensors: Tensors) -> Path:
    arrays = google_files.orbax_arrays(config, tensors)
    return google_files.write_orbax(directory, arrays, is_database=is_database)


def _keras(directory: Path, config: dict[str, Any], tensors: Tensors) -> Path:
    return google_files.write_keras(directory, config, google_files.keras_datasets(config, tensors))


def _gemma_pytorch(directory: Path, config: dict[str, Any], tensors: Tensors) -> Path:
    return google_files.write_gemma_pytorch(
        directory / "model.ckpt", google_files.gemma_pytorch_tensors(config, tensors)
    )


def _jlama(directory: Path, config: dict[str, Any], tensors: Tensors) -> Path:
    return write_jlama(directory, config, jlama_tensors(tensors, "Q4")[0])


FORMS: dict[str, Callable[[Path, int], Path]] = {
    "safetensors, bfloat16": partial(_own, None),
    "safetensors, int8": partial(_own, "int8"),
    "safetensors, int4": partial(_own, "int4"),
    "GGUF, BF16": partial(_gguf, GgufType.BF16),
    "GGUF, Q8_0": partial(_gguf, GgufType.Q8_0),
    "Jlama, Q4": partial(_foreign, _jlama),
    "NeMo 1, tar": partial(_foreign, _nemo1),
    "NeMo 1, zarr": partial(_foreign, nemo_files.write_nemo1_zarr),
    "NeMo 2, torch_dist": partial(_foreign, nemo_files.write_nemo2_stacked),
    "Orbax, zarr": partial(_foreign, partial(_orbax, False)),
    "Orbax, OCDBT": partial(_foreign, partial(_orbax, True)),
    "Keras": partial(_foreign, _keras),
    "gemma_pytorch": partial(_foreign, _gemma_pytorch),
}
"""How a model of so many layers is written into a directory; returns what is to be opened."""
