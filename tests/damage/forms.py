"""One small checkpoint of every form, undamaged: what is damaged afterwards."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType
from sentencepiece.sentencepiece_model_pb2 import ModelProto, NormalizerSpec, TrainerSpec

from serving.checkpoints.conversion import convert
from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.gguf.writer import GgufType
from sharding.checkpoint.gguf.writer import write_gguf as convert_to_gguf
from sharding.checkpoint.huggingface.config import gemma_config_from_hf
from sharding.parameters import LORA_A, adapter_parameters
from tests.oracle.random_checkpoint import CONFIGS, random_tensors
from tests.sharding.checkpoint.blocks import write_blocks_gguf
from tests.sharding.checkpoint.files import Tensors, write_huggingface
from tests.sharding.checkpoint.gguf_sets import write_set
from tests.sharding.checkpoint.google_files import (
    gemma_pytorch_tensors,
    keras_datasets,
    nested_otherwise,
    orbax_arrays,
    quantised_gemma_pytorch,
    write_gemma_pytorch,
    write_keras,
    write_orbax,
)
from tests.sharding.checkpoint.jlama_files import jlama_tensors, write_jlama
from tests.sharding.checkpoint.nemo_archives import archived
from tests.sharding.checkpoint.nemo_files import (
    NEMO_LAYOUTS,
)
from tests.sharding.peft_files import peft_tensors, write_peft

_SIZES = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 32,
}
"""Rows of whole blocks of 32 for GGUF and Jlama; pieces for all bytes."""
GEMMA = CONFIGS["gemma-mqa"] | _SIZES
GEMMA3 = CONFIGS["gemma3"] | _SIZES | {"query_pre_attn_scalar": _SIZES["head_dim"]}
MODEL = gemma_config_from_hf(GEMMA)
"""That the adapter is of."""
RANK = 4


@dataclass(frozen=True)
class Form:
    """A form, and what damage to its bytes can do unnoticed.

    Attributes:
      write: writes into a directory that is not there yet, and returns what is to be opened: it, or a file in it.
      numbers_per_byte: so many numbers may differ for each byte that was changed: one where they lie in a file as they
        are, more where they share a scale, 0 where a checksum is read with them, None where chunks are compressed
        without one.
      is_summed: whether `codegemma inspect --verify` knows a checksum of the numbers.
    """

    write: Callable[[Path], Path]
    numbers_per_byte: int | None = 1
    is_summed: bool = False


def tokenizer(size: int = GEMMA["vocab_size"]) -> bytes:
    """A SentencePiece model of Gemma's kind: control tokens, bytes, and pieces of text up to a size."""
    kinds = ModelProto.SentencePiece
    control = [("<pad>", kinds.CONTROL), ("<eos>", kinds.CONTROL), ("<bos>", kinds.CONTROL), ("<unk>", kinds.UNKNOWN)]
    pieces = control + [(f"<0x{byte:02X}>", kinds.BYTE) for byte in range(256)]
    pieces += [("▁" * number, kinds.NORMAL) for number in range(1, size - len(pieces) + 1)]
    content: bytes = ModelProto(
        pieces=[kinds(piece=text, score=-number, type=kind) for number, (text, kind) in enumerate(pieces)],
        trainer_spec=TrainerSpec(model_type=TrainerSpec.BPE, byte_fallback=True, vocab_size=size),
        normalizer_spec=NormalizerSpec(name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False),
    ).SerializeToString()
    return content


def _tensors(config: Mapping[str, Any] = GEMMA, dtype: npt.DTypeLike = np.float32) -> Tensors:
    return {name: value.astype(dtype) for name, value in random_tensors(dict(config), 1).items()}


def _with_tokenizer(directory: Path, name: str = "tokenizer.model") -> Path:
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(tokenizer())
    return directory


def _huggingface(
    directory: Path, config: Mapping[str, Any] = GEMMA, dtype: npt.DTypeLike = np.float32, shards: int | None = None
) -> Path:
    return _with_tokenizer(write_huggingface(directory, config, _tensors(config, dtype), shards))


def _multimodal(directory: Path) -> Path:
    stored = {f"language_model.{name}": value for name, value in _tensors(GEMMA3, ml_dtypes.bfloat16).items()}
    stored["vision_tower.patch.weight"] = np.ones((3, 3), ml_dtypes.bfloat16)
    write_huggingface(directory, {"model_type": "gemma3", "text_config": GEMMA3}, stored)
    return _with_tokenizer(directory)


def _native(directory: Path, quantization: str) -> Path:
    source = _huggingface(directory.with_name("source"))
    convert(source, directory, "bfloat16", quantization, files=2)
    return directory


def _gguf(directory: Path, kind: GgufType, config: Mapping[str, Any] = GEMMA, version: int = 3) -> Path:
    directory.mkdir()
    source = open_checkpoint(_huggingface(directory.with_name("source"), config))
    convert_to_gguf(source, directory / "model.gguf", kind)
    data = (directory / "model.gguf").read_bytes()
    (directory / "model.gguf").write_bytes(data[:4] + struct.pack("<I", version) + data[8:])
    return directory / "model.gguf"


def _gguf_blocks(directory: Path) -> Path:
    directory.mkdir()
    kinds = GGMLQuantizationType
    return write_blocks_gguf(directory / "model.gguf", GEMMA, _tensors(), kinds.Q4_0, kinds.Q8_0)


def _jlama(directory: Path, kind: str) -> Path:
    return _with_tokenizer(write_jlama(directory, GEMMA, jlama_tensors(_tensors(), kind)[0]))


def _nemo(directory: Path, layout: str, dtype: npt.DTypeLike = np.float32) -> Path:
    NEMO_LAYOUTS[layout](directory, config=GEMMA, tensors=_tensors(dtype=dtype))
    for file in directory.rglob("*tokenizer.model"):
        file.write_bytes(tokenizer())
    return directory


def _nemo_archive(directory: Path, layout: str, mode: Literal["w:", "w:gz"]) -> Path:
    directory.mkdir()
    return archived(_nemo(directory / "unpacked", layout), directory / "model.nemo", mode)


def _orbax(directory: Path, is_database: bool) -> Path:
    return _with_tokenizer(write_orbax(directory, orbax_arrays(GEMMA, _tensors()), is_database=is_database))


def _keras(directory: Path, datasets: Tensors, shards: int | None = None) -> Path:
    return _with_tokenizer(write_keras(directory, GEMMA, datasets, shards), "assets/tokenizer/vocabulary.spm")


def _gemma_pytorch(directory: Path, stored: Tensors, shards: int | None = None) -> Path:
    path = directory if shards else directory / "model.ckpt"
    path.parent.mkdir(exist_ok=True)
    _with_tokenizer(write_gemma_pytorch(path, stored, shards) if shards else write_gemma_pytorch(path, stored).parent)
    return path


def _adapter(directory: Path) -> Path:
    from sharding.adapters import Adapter

    rng = np.random.default_rng(1)
    weights: Tensors = {}
    for path, parameter in adapter_parameters(MODEL, 1, RANK).items():
        shape = parameter.shape[1:] if path.endswith(LORA_A) else (*parameter.shape[:-2], RANK)
        weights[path] = rng.standard_normal(shape, np.float32)
    return write_peft(directory, peft_tensors(Adapter(weights, "")))


_UNCHECKED_CHUNKS = None
_BLOCKS, _ROWS = 32, 64
"""Numbers that share a scale: of a block, and at most of a row."""
_PYTORCH = gemma_pytorch_tensors(GEMMA, _tensors())
FORMS: dict[str, Form] = {
    "Hugging Face": Form(_huggingface),
    "Hugging Face, a file": Form(lambda path: _huggingface(path) / "model.safetensors"),
    "Hugging Face in shards": Form(partial(_huggingface, shards=3, dtype=ml_dtypes.bfloat16)),
    "Hugging Face, Gemma 3": Form(partial(_huggingface, config=GEMMA3, dtype=np.float16)),
    "Hugging Face, with a vision tower": Form(_multimodal),
    "native int8": Form(partial(_native, quantization="int8"), is_summed=True),
    "native int4": Form(partial(_native, quantization="int4"), numbers_per_byte=2, is_summed=True),
    "native int8-groups": Form(partial(_native, quantization="int8-groups"), is_summed=True),
    "GGUF": Form(partial(_gguf, kind=GgufType.F32)),
    "GGUF of version 2": Form(partial(_gguf, kind=GgufType.BF16, version=2)),
    "GGUF Q8_0, Gemma 3": Form(partial(_gguf, kind=GgufType.Q8_0, config=GEMMA3), _BLOCKS),
    "GGUF Q4_0": Form(_gguf_blocks, _BLOCKS),
    "GGUF in files": Form(lambda path: write_set(path, GEMMA, _tensors())[1]),
    "GGUF in a directory": Form(lambda path: _gguf(path, GgufType.BF16).parent),
    "Jlama Q4": Form(partial(_jlama, kind="Q4"), _BLOCKS),
    "Jlama I8": Form(partial(_jlama, kind="I8"), _BLOCKS),
    "NeMo": Form(partial(_nemo, layout="flat")),
    "NeMo of ranks": Form(partial(_nemo, layout="ranks", dtype=ml_dtypes.bfloat16)),
    "NeMo zarr": Form(partial(_nemo, layout="zarr")),
    "NeMo zarr in blosc": Form(partial(_nemo, layout="zarr in blosc"), _UNCHECKED_CHUNKS),
    "NeMo zarr in zlib": Form(partial(_nemo, layout="zarr in zlib"), 0),
    "NeMo zarr in gzip": Form(partial(_nemo, layout="zarr in gzip"), 0),
    "NeMo torch_dist": Form(partial(_nemo, layout="torch_dist of 4 ranks")),
    "NeMo 2": Form(partial(_nemo, layout="NeMo 2", dtype=np.float16)),
    "NeMo 2 by layer": Form(partial(_nemo, layout="NeMo 2 by layer")),
    "NeMo in a tar": Form(partial(_nemo_archive, layout="flat", mode="w:")),
    "NeMo zarr in a tar": Form(partial(_nemo_archive, layout="zarr", mode="w:")),
    "NeMo 2 in a tar": Form(partial(_nemo_archive, layout="NeMo 2", mode="w:")),
    "NeMo in a tar.gz": Form(partial(_nemo_archive, layout="flat", mode="w:gz"), 0),
    "NeMo torch_dist in a tar.gz": Form(partial(_nemo_archive, layout="torch_dist", mode="w:gz"), 0),
    "Orbax zarr": Form(partial(_orbax, is_database=False), _UNCHECKED_CHUNKS),
    "Orbax OCDBT": Form(partial(_orbax, is_database=True), _UNCHECKED_CHUNKS),
    "Keras": Form(partial(_keras, datasets=keras_datasets(GEMMA, _tensors()))),
    "Keras in shards": Form(partial(_keras, datasets=keras_datasets(GEMMA, _tensors(dtype=np.float16)), shards=2)),
    "Keras, old": Form(partial(_keras, datasets=nested_otherwise(keras_datasets(GEMMA, _tensors())))),
    "gemma_pytorch": Form(partial(_gemma_pytorch, stored=_PYTORCH)),
    "gemma_pytorch in shards": Form(partial(_gemma_pytorch, stored=_PYTORCH, shards=2)),
    "gemma_pytorch int8": Form(partial(_gemma_pytorch, stored=quantised_gemma_pytorch(_PYTORCH)), _ROWS),
    "adapter of PEFT": Form(_adapter),
}
