"""The body of Mistral's fill-in-the-middle (https://docs.mistral.ai/api/endpoint/fim)."""

from pydantic import Field, model_validator

from serving.gateway.http.lenient import Integer, Stops
from serving.gateway.http.sampling import Penalties
from serving.gateway.http.unsupported import refuse_unless_neutral

_NEUTRAL: dict[str, tuple[object, ...]] = {
    "min_tokens": (0,),
    "n": (1,),
}


class FimBody(Penalties):
    """`POST /v1/fim/completions`. Fields that are not listed are ignored, or refused if they change the answer."""

    prompt: str
    suffix: str = ""
    model: str | None = None
    max_tokens: Integer | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    random_seed: Integer | None = None
    stop: Stops = Field(default_factory=list)
    stream: bool = False

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, body: object) -> object:
        if isinstance(body, dict):
            refuse_unless_neutral(body, _NEUTRAL)
        return body
