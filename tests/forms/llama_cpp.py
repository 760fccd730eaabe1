"""GGUF files by the `gguf` package: names, keys and tokenizer as llama.cpp's convert_hf_to_gguf.py has them."""

from pathlib import Path
from typing import Any

import gguf
from gguf import GGMLQuantizationType as Type
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from tests.forms.weights import tokenizer
from tests.oracle.random_checkpoint import Tensors


def write_gguf(path: Path, config: dict[str, Any], tensors: Tensors, kind: Type, tensors_per_file: int = 0) -> None:
    """One file, or a set of them that lies in a directory."""
    if tensors_per_file:
        path.mkdir()
        path = path / "model.gguf"
    writer = gguf.GGUFWriter(path, "gemma", split_max_tensors=tensors_per_file)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    _add_tokenizer(writer, config["vocab_size"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA, config["num_hidden_layers"])
    for name, value in tensors.items():
        stored = names.get_name(name, try_suffixes=(".weight",))
        assert stored is not None
        if value.ndim == 1:
            writer.add_tensor(stored, value + 1)
        else:
            writer.add_tensor(stored, gguf.quants.quantize(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_numbers(tensors: Tensors, kind: Type) -> Tensors:
    """What a type of blocks leaves of matrices."""
    return {
        name: gguf.quants.dequantize(gguf.quants.quantize(value, kind), kind) if value.ndim == 2 else value
        for name, value in tensors.items()
    }


def _add_tokenizer(writer: gguf.GGUFWriter, vocab_size: int) -> None:
    pieces = ModelProto.FromString(tokenizer(vocab_size)).pieces
    user_defined = ModelProto.SentencePiece.USER_DEFINED
    writer.add_tokenizer_model("llama")
    writer.add_token_list(
        [each.piece.replace("▁", " ") if each.type == user_defined else each.piece for each in pieces]
    )
    writer.add_token_scores([each.score for each in pieces])
    writer.add_token_types([each.type for each in pieces])
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_add_space_prefix(False)
