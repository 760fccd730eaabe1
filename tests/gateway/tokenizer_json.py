"""A `tokenizer.json` from a SentencePiece model: the same vocabulary for an independent implementation of BPE."""

import json

from sentencepiece.sentencepiece_model_pb2 import ModelProto


def tokenizer_json(model: ModelProto) -> str:
    """What Hugging Face's converter writes for a Gemma model: runs of white space are merges and added tokens."""
    kinds = ModelProto.SentencePiece
    vocabulary = {piece.piece: token_id for token_id, piece in enumerate(model.pieces)}
    runs = {
        piece.piece for piece in model.pieces if piece.type == kinds.USER_DEFINED and not piece.piece.strip("▁\n\t")
    }
    mergeable = runs | {piece.piece for piece in model.pieces if piece.type == kinds.NORMAL}
    merges = [
        (
            piece not in runs,
            vocabulary[piece],
            vocabulary[piece[:cut]],
            vocabulary[piece[cut:]],
            piece[:cut],
            piece[cut:],
        )
        for piece in mergeable
        for cut in range(1, len(piece))
        if piece[:cut] in mergeable and piece[cut:] in mergeable
    ]
    added = [
        {
            "id": token_id,
            "content": piece.piece,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": piece.type in (kinds.CONTROL, kinds.UNKNOWN),
        }
        for token_id, piece in enumerate(model.pieces)
        if piece.type in (kinds.CONTROL, kinds.UNKNOWN, kinds.USER_DEFINED)
    ]
    spec = {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": vocabulary,
            "merges": [[left, right] for *_, left, right in sorted(merges)],
        },
    }
    return json.dumps(spec, ensure_ascii=False)
