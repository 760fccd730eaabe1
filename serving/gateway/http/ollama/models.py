"""What Ollama's clients learn of a model: by it they decide whether it fills in, and what it is asked."""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from serving.errors import ServingError
from serving.gateway.http.json_text import Json
from serving.gateway.http.ollama.answers import timestamp
from serving.gateway.service import ModelInfo
from serving.gateway.text.tokenizer import END_OF_TURN, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, START_OF_TURN

_DEFAULT_TAG = ":latest"
_FAMILY = "gemma"
_NEVER = timestamp(datetime(9999, 1, 1, tzinfo=UTC))
_SINCE = timestamp(datetime.now(UTC))
"""When this process began to serve; checkpoints have no date."""
_CHAT_TEMPLATES = {
    "turns": (
        f'{{{{ range .Messages }}}}{START_OF_TURN}{{{{ if eq .Role "assistant" }}}}model{{{{ else }}}}user'
        "{{ end }}\n"
        f"{{{{ .Content }}}}{END_OF_TURN}\n{{{{ end }}}}{START_OF_TURN}model\n"
    ),
    "transcript": (
        '{{ range .Messages }}{{ if eq .Role "assistant" }}Answer{{ else }}Question{{ end }}:\n'
        "{{ .Content }}\n\n{{ end }}Answer:\n"
    ),
}
_FIM_TEMPLATES = {
    "native": f"{FIM_PREFIX}{{{{ .Prompt }}}}{FIM_SUFFIX}{{{{ .Suffix }}}}{FIM_MIDDLE}",
    "prefix": "{{- /* the answer ends where .Suffix begins */ -}}{{ .Prompt }}",
}


async def named_model(find: Callable[[str], Awaitable[ModelInfo]], name: str) -> ModelInfo:
    """A model by the name that a client of Ollama has for it: with the tag `latest` where nobody names another.

    Args:
      find: as `HttpCall.model`.
      name: what the client says.

    Raises:
      ServingError: MODEL_NOT_FOUND; as `find`.
    """
    untagged = name.removesuffix(_DEFAULT_TAG)
    try:
        return await find(name)
    except ServingError:
        if untagged == name:
            raise
    return await find(untagged)


def listed_model(model: ModelInfo) -> Json:
    """An entry of `/api/tags`. Sizes are not known here."""
    return {
        "name": model.id,
        "model": model.id,
        "modified_at": _SINCE,
        "size": 0,
        "digest": hashlib.sha256(f"{model.id} {model.version}".encode()).hexdigest(),
        "details": _details(),
    }


def running_model(model: ModelInfo) -> Json:
    """An entry of `/api/ps`."""
    return {**listed_model(model), "expires_at": _NEVER, "size_vram": 0, "context_length": model.context_length}


def shown_model(model: ModelInfo) -> Json:
    """The answer of `/api/show`. Editors look for `.Suffix` in the template and read the lines of `parameters`."""
    return {
        "modelfile": "",
        "parameters": f"num_ctx {model.context_length}",
        "template": _template(model),
        "details": _details(),
        "model_info": {
            "general.architecture": _FAMILY,
            "general.basename": model.id,
            "general.version": model.version,
            f"{_FAMILY}.context_length": model.context_length,
        },
        "capabilities": ["completion", "insert"] if model.fim else ["completion"],
        "modified_at": _SINCE,
    }


def _template(model: ModelInfo) -> str:
    chat = _CHAT_TEMPLATES[model.chat] if model.chat else ""
    if model.fim is None:
        return chat
    if chat:
        chat = f"{{{{ else if .Messages }}}}{chat}"
    return f"{{{{ if .Suffix }}}}{_FIM_TEMPLATES[model.fim]}{chat}{{{{ else }}}}{{{{ .Prompt }}}}{{{{ end }}}}"


def _details() -> Json:
    return {
        "parent_model": "",
        "format": "",
        "family": _FAMILY,
        "families": [_FAMILY],
        "parameter_size": "",
        "quantization_level": "",
    }
