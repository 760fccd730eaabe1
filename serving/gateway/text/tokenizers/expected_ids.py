"""The ids of control tokens that Gemma's vocabularies are published with, by the vocabulary's size.

Weights were trained with these: a tokenizer that has them elsewhere is another model's, or was damaged by a tool.
"""

from serving.gateway.text.tokenizer import (
    BOS,
    END_OF_TURN,
    EOS,
    FILE_SEPARATOR,
    FIM_MIDDLE,
    FIM_PREFIX,
    FIM_SUFFIX,
    START_OF_TURN,
    Tokenizer,
)

_IDS = {
    256_000: {
        EOS: 1,
        BOS: 2,
        FIM_PREFIX: 67,
        FIM_MIDDLE: 68,
        FIM_SUFFIX: 69,
        FILE_SEPARATOR: 70,
        START_OF_TURN: 106,
        END_OF_TURN: 107,
    },
    262_144: {EOS: 1, BOS: 2, START_OF_TURN: 105, END_OF_TURN: 106},
}
"""Gemma 1 with CodeGemma, and Gemma 3."""
_MOST_PADDING = 1024
"""Rows of an embedding that no token has: 64 in Gemma 3, and up to the next multiple of some power of two elsewhere."""


def check_ids(tokenizer: Tokenizer) -> None:
    """Compares the control tokens that a vocabulary of a published size has; Gemma 1 lacks those of FIM.

    Raises:
      ValueError: one has another id.
    """
    for text, expected in _IDS.get(tokenizer.vocab_size, {}).items():
        found = tokenizer.control_id(text)
        if found not in (expected, None):
            raise ValueError(
                f"{text} has the id {found}, and {expected} in Gemma's vocabulary of {tokenizer.vocab_size} tokens. "
                "Take the tokenizer that was published with the model."
            )


def fit_to_rows(tokenizer: Tokenizer, rows: int | None) -> None:
    """Makes a vocabulary that of the embedding beside it, which may have some rows more; None: they are not known.

    Control tokens without a row are left out: Gemma 3's `tokenizer.json` has <image_soft_token>, of images, as the last
    one, and the models that read text alone have no row for it.

    Raises:
      ValueError: they are not of one model.
    """
    if rows is None:
        return
    tokenizer.leave_out_from(rows)
    if not 0 <= rows - tokenizer.vocab_size <= _MOST_PADDING:
        raise ValueError(
            f"has {tokenizer.vocab_size} tokens, and the weights {rows}. Take the tokenizer that was published with "
            "the model."
        )
