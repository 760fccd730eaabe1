"""The control tokens of code models in a GGUF's metadata, which converters have written in three ways.

Since April 2024 those of llama.cpp wrote `prefix_token_id`, since October 2024 `fim_pre_token_id`, and some write none
(https://github.com/ggml-org/llama.cpp, pull requests 6689 and 9798). They write them for every Gemma, so a key counts
only where the token's text, or the name of the model, says the same. `eot_token_id` was the file separator for a while
(6689 to 6745): nothing here reads it, and a turn ends at the token whose text is `<end_of_turn>`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sharding.checkpoint.errors import CheckpointError

_PREFIX = "tokenizer.ggml."
_FIM: dict[str, tuple[tuple[str, ...], int]] = {
    "<|fim_prefix|>": (("fim_pre_token_id", "prefix_token_id"), 67),
    "<|fim_middle|>": (("fim_mid_token_id", "middle_token_id"), 68),
    "<|fim_suffix|>": (("fim_suf_token_id", "suffix_token_id"), 69),
    "<|file_separator|>": (("fim_sep_token_id",), 70),
}
"""By text: the keys, the newest first, and CodeGemma's id."""
_UNUSED = re.compile(r"<unused\d+>")


def fim_ids(metadata: Mapping[str, Any], tokens: Sequence[str]) -> dict[int, str]:
    """The ids of what marks prefix, suffix, middle and further files, with their texts; empty for a model without.

    A key of the metadata comes first, then a token's text, then the id that CodeGemma has.

    Raises:
      CheckpointError: a key names no token, or another one than has the text.
    """
    names = f"{metadata.get('general.name')} {metadata.get('general.basename')}"
    is_codegemma = "codegemma" in re.sub(r"[\W_]", "", names).lower()
    ids = {text: token_id for token_id, text in enumerate(tokens) if text in _FIM}
    for text, (keys, constant) in _FIM.items():
        key = next((_PREFIX + key for key in keys if _PREFIX + key in metadata), None)
        if key is not None:
            said = metadata[key]
            if not isinstance(said, int) or not 0 <= said < len(tokens):
                raise CheckpointError(f"{key}={said!r} is no id of the vocabulary, which has {len(tokens)}.")
            if ids.get(text, said) != said:
                raise CheckpointError(f"{key}={said}, but the token {text} is {ids[text]}. Convert the model again.")
            if is_codegemma and _UNUSED.fullmatch(tokens[said]):
                ids[text] = said
        elif is_codegemma and text not in ids and constant < len(tokens) and _UNUSED.fullmatch(tokens[constant]):
            ids[text] = constant
    return {token_id: text for text, token_id in ids.items()}
