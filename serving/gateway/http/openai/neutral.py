"""Fields that would change an answer and are not supported: refused by name, unless their value changes nothing."""

from collections.abc import Mapping
from typing import Any

from serving.gateway.http.unsupported import unsupported

NEUTRAL: dict[str, tuple[object, ...]] = {
    "allowed_token_ids": ([],),
    "audio": (),
    "bad_words": ([],),
    "chat_template": (),
    "dry_multiplier": (0,),
    "dynatemp_range": (0,),
    "echo": (),
    "function_call": ("none", "auto"),
    "grammar": ("",),
    "guided_choice": ([],),
    "guided_grammar": ("",),
    "guided_json": (),
    "guided_regex": ("",),
    "ignore_eos": (),
    "include_stop_str_in_output": (),
    "json_schema": (),
    "length_penalty": (1,),
    "min_tokens": (0,),
    "mirostat": (0,),
    "modalities": (["text"],),
    "prompt_logprobs": (),
    "response_format": ({"type": "text"},),
    "structured_outputs": (),
    "tool_choice": ("none", "auto", {"type": "none"}, {"type": "auto"}),
    "tfs_z": (1,),
    "top_a": (0,),
    "top_n_sigma": (-1, 0),
    "truncate_prompt_tokens": (-1,),
    "typical_p": (1,),
    "use_beam_search": (),
    "web_search_options": (),
    "xtc_probability": (0,),
}
"""Fields of OpenAI's API, and those that vLLM and llama.cpp add to it -> values that change nothing. Nor do None and
False, which stand for a field that is not there."""


def refuse_unsupported(body: Mapping[str, Any]) -> None:
    """Looks through the body of a completion or a chat for what is refused by more than one value.

    Raises:
      ServingError: UNSUPPORTED_PARAMETER with the field.
    """
    if body.get("best_of") not in (None, False, 1, body.get("n")):
        raise unsupported("best_of", "is not supported here unless it is n, and would change the answer.")
