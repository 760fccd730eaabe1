"""CodeService: from a request in text to an answer in text, whatever protocol carries them."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from serving.config import GatewayConfig, ModelConfig
from serving.engine.request import GenerationChunk, GenerationRequest
from serving.gateway.request import CodeChunk, CodeRequest, Role
from serving.gateway.tokenizer import Tokenizer


class ModelBackend(Protocol):
    """The replica groups of one model: tokens in, tokens out."""

    def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationChunk, None]:
        """Generate one sequence; closing the generator aborts it.

        Raises:
          ServingError: the request was refused or the group failed.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """One model as the gateway sees it.

    Attributes:
      max_context: tokens of prompt and generation together.
    """

    config: ModelConfig
    tokenizer: Tokenizer
    backend: ModelBackend
    max_context: int


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What clients are told about a model.

    Attributes:
      fim: "native" if it has FIM tokens, "prefix" if it continues the prefix and stops where the suffix
        begins, None if it does not serve FIM.
      context_length: tokens of prompt and generation together.
    """

    id: str
    aliases: tuple[str, ...]
    roles: tuple[Role, ...]
    fim: Literal["native", "prefix"] | None
    context_length: int


class CodeService:
    """Answers code requests from a set of models."""

    def __init__(self, models: Sequence[ServedModel], gateway_config: GatewayConfig) -> None:
        self._models = tuple(models)
        self._config = gateway_config

    def models(self) -> tuple[ModelInfo, ...]:
        """The models, in the order of the configuration."""
        raise NotImplementedError

    def model(self, name: str) -> ModelInfo:
        """One model by id or alias.

        Raises:
          ServingError: MODEL_NOT_FOUND.
        """
        raise NotImplementedError

    def model_for(self, request: CodeRequest) -> ModelInfo:
        """The model that answers this request: the one it names, or the one with the role of its prompt's shape.

        Raises:
          ServingError: MODEL_NOT_FOUND, ROLE_NOT_SERVED.
        """
        raise NotImplementedError

    def count_tokens(self, request: CodeRequest) -> int:
        """How many tokens the rendered prompt is, BOS included.

        Raises:
          ServingError: a bad field; the prompt is longer than the context.
        """
        raise NotImplementedError

    def generate(self, request: CodeRequest) -> AsyncGenerator[CodeChunk, None]:
        """Generate an answer; closing the generator aborts it and frees the engine.

        The last chunk of each choice has a finish reason; one last chunk has the usage and no text. A fault in
        the request is raised before the first chunk.

        Raises:
          ServingError: anything that went wrong.
        """
        raise NotImplementedError
