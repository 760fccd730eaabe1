"""What several APIs have of how to draw: penalties, and biases in all the forms that clients write."""

import math
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from serving.gateway.http.lenient import Integer, NothingIsAbsent
from serving.gateway.http.ranges import Penalty, RepetitionPenalty
from serving.gateway.request import Biases

REPEAT_LAST_N = 64
"""Tokens that llama.cpp's penalties count by default."""
_ID_DIGITS = 18
"""An object's name with more is no token id."""
_NUMBER_OR_FALSE = {"anyOf": [{"type": "number"}, {"const": False}]}
_PAIR = {
    "type": "array",
    "prefixItems": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, _NUMBER_OR_FALSE],
    "minItems": 2,
    "maxItems": 2,
}
_SCHEMA = {"anyOf": [{"type": "object", "additionalProperties": _NUMBER_OR_FALSE}, {"type": "array", "items": _PAIR}]}


def _biases(value: object) -> Biases:
    if isinstance(value, dict):
        return tuple((_named(name), _bias(bias)) for name, bias in value.items())
    if isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        return tuple((_token(token), _bias(bias)) for token, bias in value)
    raise PydanticCustomError("logit_bias", "an object of token ids and numbers, or a list of such pairs, is due")


def _named(name: str) -> int | str:
    return int(name) if name.isascii() and name.isdigit() and len(name) <= _ID_DIGITS else name


def _token(value: object) -> int | str:
    if isinstance(value, str) or type(value) is int:
        return value
    raise PydanticCustomError("logit_bias", "a token id or a text is due as the first of each pair")


def _bias(value: object) -> float:
    if value is False:
        return -math.inf
    if isinstance(value, int | float) and value is not True:
        return value
    raise PydanticCustomError("logit_bias", "a number is due for each token, or false, which forbids it")


LogitBias = Annotated[Biases, PlainValidator(_biases), WithJsonSchema(_SCHEMA)]
"""OpenAI's object, token ids to numbers; llama.cpp's, whose names may be texts; llama.cpp's list of pairs."""


class Penalties(NothingIsAbsent):
    """OpenAI's.

    Attributes:
      presence_penalty: subtracted from the logits of tokens that have come.
      frequency_penalty: the same, as often as they have.
    """

    presence_penalty: Penalty = 0.0
    frequency_penalty: Penalty = 0.0


class RecentPenalties(Penalties):
    """llama.cpp's, which Ollama has, too: they count the last tokens of the prompt and of what was generated.

    Attributes:
      repeat_penalty: logits of tokens that have come are divided by it, negative ones multiplied.
      repeat_last_n: how many tokens count; 0 for no penalties, negative for the whole context.
    """

    repeat_penalty: RepetitionPenalty = 1.0
    repeat_last_n: Integer = REPEAT_LAST_N
