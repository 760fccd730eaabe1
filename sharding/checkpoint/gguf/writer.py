"""Writes a checkpoint as a GGUF file, for llama.cpp and what is built on it.

Keys and names: gguf-py/gguf/constants.py of https://github.com/ggml-org/llama.cpp.
"""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from sharding.checkpoint.checkpoint import Checkpoint, open_checkpoint
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.gguf.tensors import stored_name
from sharding.checkpoint.source import TensorSource
from sharding.checkpoint.tokenizer import TokenizerKind, sentencepiece_model
from sharding.config import GemmaConfig
from sharding.parameters import parameters

_BLOCK_NUMBERS = 2**22
"""Encoded at a time."""
_CONTROL_KEYS = {
    "bos_token_id": "<bos>",
    "eos_token_id": "<eos>",
    "unknown_token_id": "<unk>",
    "padding_token_id": "<pad>",
    "fim_pre_token_id": "<|fim_prefix|>",
    "fim_suf_token_id": "<|fim_suffix|>",
    "fim_mid_token_id": "<|fim_middle|>",
    "fim_sep_token_id": "<|file_separator|>",
    "eot_token_id": "<end_of_turn>",
}


class GgufType(StrEnum):
    """How matrices are encoded; norms are always F32."""

    F32 = "F32"
    BF16 = "BF16"
    Q8_0 = "Q8_0"

    @property
    def encoding(self) -> gguf.GGMLQuantizationType:
        """By its number in the format."""
        return gguf.GGMLQuantizationType[self.name]


def write_gguf(
    checkpoint: Checkpoint,
    file: Path,
    encoding: GgufType,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Writes configuration, tokenizer and weights into one file; holds a few million numbers at a time.

    Args:
      checkpoint: what to write; what is quantised is decoded first.
      file: one that is not there.
      encoding: of the matrices.
      on_progress: called as `on_progress(done, total)`, in bytes, after each tensor.

    Raises:
      CheckpointError: the source cannot be read, or has a feature or a tokenizer that a GGUF cannot tell of.
      OSError: the file cannot be written.
    """
    checkpoint = checkpoint.dequantised()
    writer = gguf.GGUFWriter(None, "gemma3" if checkpoint.config.qk_norm else "gemma")
    _add_config(writer, checkpoint.config, encoding)
    _add_tokenizer(writer, checkpoint)
    encodings: dict[str, gguf.GGMLQuantizationType] = {}
    for path, parameter in parameters(checkpoint.config).items():
        kind = encoding.encoding if parameter.outputs else gguf.GGMLQuantizationType.F32
        shape = _encoded_shape(parameter.stored_shape, kind)
        encodings[path] = kind
        writer.add_tensor_info(stored_name(path), shape, np.dtype(np.uint8), int(np.prod(shape)), raw_dtype=kind)
    writer.open_output_file(file)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        assert writer.fout is not None
        [out] = writer.fout
        total = sum(info.nbytes for tensors in writer.tensors for info in tensors.values())
        done = 0
        for path, kind in encodings.items():
            source = checkpoint.tensors[path]
            assert isinstance(source, TensorSource)  # nothing is quantised
            writer.write_padding(out, out.tell())
            done += sum(out.write(block.tobytes()) for block in _blocks(source, kind))
            on_progress(done, total)
        writer.write_padding(out, out.tell())
    finally:
        writer.close()
    if open_checkpoint(file).dequantised().config != checkpoint.config:
        raise CheckpointError(f"{checkpoint.path}: {checkpoint.config} has what no key of a GGUF tells.")


def _add_config(writer: gguf.GGUFWriter, config: GemmaConfig, encoding: GgufType) -> None:
    writer.add_file_type(gguf.LlamaFileType[f"{'ALL' if encoding is GgufType.F32 else 'MOSTLY'}_{encoding}"])
    writer.add_context_length(config.max_context)
    writer.add_embedding_length(config.embed_dim)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(config.mlp_dim)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    if config.rope_scale != 1:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_scale)
    if config.sliding_window is not None:
        writer.add_sliding_window(config.sliding_window)
        writer.add_uint32(f"{writer.arch}.attention.sliding_window_pattern", config.global_every)
        writer.add_float32(f"{writer.arch}.rope.freq_base_swa", config.local_rope_theta)


def _add_tokenizer(writer: gguf.GGUFWriter, checkpoint: Checkpoint) -> None:
    stored = checkpoint.tokenizer
    if stored is None or stored.kind is not TokenizerKind.SENTENCEPIECE:
        raise CheckpointError(
            f"{checkpoint.path}: a GGUF holds a SentencePiece vocabulary, and there is no tokenizer.model. Put it "
            "beside the weights."
        )
    try:
        model = sentencepiece_model(stored.read())
    except ValueError as error:
        raise CheckpointError(f"{stored.file}: {error}") from error
    kinds = ModelProto.SentencePiece
    # llama.cpp's converter writes user-defined runs of spaces as spaces, and so does everybody else.
    tokens = [p.piece.replace("▁", " ") if p.type == kinds.USER_DEFINED else p.piece for p in model.pieces]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([piece.score for piece in model.pieces])
    writer.add_token_types([piece.type for piece in model.pieces])
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(model.normalizer_spec.add_dummy_prefix)
    ids = {piece.piece: token_id for token_id, piece in enumerate(model.pieces)}
    for key, text in _CONTROL_KEYS.items():
        if text in ids:
            writer.add_uint32(f"tokenizer.ggml.{key}", ids[text])


def _encoded_shape(shape: tuple[int, ...], kind: gguf.GGMLQuantizationType) -> tuple[int, ...]:
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    if shape[-1] % block:
        raise CheckpointError(f"{kind.name} needs rows in blocks of {block}, and one has {shape[-1]}. Take BF16.")
    return (*shape[:-1], shape[-1] // block * block_bytes)


def _blocks(source: TensorSource, kind: gguf.GGMLQuantizationType) -> Any:
    """Encoded rows, some at a time. Norms become 1 + w."""
    rows, columns = source.matrix.shape
    step = max(1, _BLOCK_NUMBERS // columns)
    for start in range(0, rows, step):
        numbers: npt.NDArray[np.float32] = source.matrix.read(
            slice(start, min(start + step, rows)), slice(0, columns), np.float32
        )
        if not source.row_axes:
            numbers += 1
        yield gguf.quants.quantize(numbers, kind)
