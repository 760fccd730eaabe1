"""Tokenizers from a SentencePiece model."""

from sentencepiece import SentencePieceProcessor
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from serving.gateway.text.tokenizer import Tokenizer, is_text_piece, piece_bytes

_Piece = ModelProto.SentencePiece


class SentencePieceTokenizer(Tokenizer):
    """A tokenizer over a SentencePiece model in which no text matches a control token."""

    def __init__(self, model: ModelProto) -> None:
        """Take a model over; its control-like pieces are made unmatchable in place.

        SentencePiece matches user-defined pieces wherever their text occurs, and Gemma's sentinels are
        user-defined. As CONTROL pieces they keep their ids and match nothing.
        """
        pieces: list[bytes] = []
        control: dict[str, int] = {}
        for token_id, piece in enumerate(model.pieces):
            text, kind = piece.piece, piece.type
            if kind == _Piece.NORMAL or (kind == _Piece.USER_DEFINED and is_text_piece(text)):
                pieces.append(piece_bytes(text))
            elif kind == _Piece.BYTE:
                pieces.append(bytes([int(text[1:-1], base=16)]))  # "<0x0A>"
            else:
                pieces.append(b"")
                control[text] = token_id
                if kind != _Piece.UNKNOWN:
                    piece.type = _Piece.CONTROL
        super().__init__(pieces, control)
        try:
            self._processor = SentencePieceProcessor(model_proto=model.SerializeToString())
        except RuntimeError as error:
            raise ValueError(f"is no sound SentencePiece model: {str(error)[:200]}") from error

    def _encode_text(self, text: str) -> list[int]:
        ids: list[int] = self._processor.encode(text)
        return ids
