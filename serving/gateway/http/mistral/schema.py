"""The body of Mistral's fill-in-the-middle (https://docs.mistral.ai/api/endpoint/fim)."""

from typing import ClassVar

from pydantic import Field

from serving.gateway.http.lenient import Integer, Stops
from serving.gateway.http.ranges import Count, Probability, Temperature
from serving.gateway.http.sampling import Penalties

_NEUTRAL: dict[str, tuple[object, ...]] = {
    "min_tokens": (0,),
    "n": (1,),
}


class FimBody(Penalties):
    """`POST /v1/fim/completions`. Fields that are not listed are ignored, or refused if they change the answer."""

    neutral: ClassVar = _NEUTRAL

    prompt: str
    suffix: str = ""
    model: str | None = None
    max_tokens: Count | None = None
    temperature: Temperature = 0.0
    top_p: Probability = 1.0
    random_seed: Integer | None = None
    stop: Stops = Field(default_factory=list)
    stream: bool = False
