"""Numbers with a range, which the OpenAPI document says.

Nothing is refused for it here: `gateway/validation.py` does that, for all protocols alike.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from serving.gateway.http.lenient import Integer
from serving.gateway.validation import LEAST_REPETITION_PENALTY, MAX_CHOICES, MAX_PENALTY, MAX_TEMPERATURE
from sharding.step import MAX_LOGPROBS


@dataclass(frozen=True)
class Range:
    """Annotates a number; None is no limit.

    Attributes:
      minimum: the least that is allowed.
      maximum: the most.
      above: what is allowed is more than that.
    """

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        limits = {"minimum": self.minimum, "maximum": self.maximum, "exclusiveMinimum": self.above}
        return {**handler(schema), **{name: limit for name, limit in limits.items() if limit is not None}}


Temperature = Annotated[float, Range(0, MAX_TEMPERATURE)]
TemperatureAtMost = Annotated[float, Range(maximum=MAX_TEMPERATURE)]
"""Where less than 0 is greedy, too."""
Probability = Annotated[float, Range(minimum=0)]
"""More than 1 is taken for 1."""
Penalty = Annotated[float, Range(-MAX_PENALTY, MAX_PENALTY)]
RepetitionPenalty = Annotated[float, Range(LEAST_REPETITION_PENALTY, MAX_PENALTY)]
ChoiceCount = Annotated[Integer, Range(1, MAX_CHOICES)]
LogprobCount = Annotated[Integer, Range(0, MAX_LOGPROBS)]
Count = Annotated[Integer, Range(minimum=0)]
CountOrNoLimit = Annotated[Integer, Range(minimum=-1)]
"""-1 is no limit."""
Seconds = Annotated[float, Range(above=0)]
