"""health_body: what a Tabby server says of itself."""

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version

from serving.config import Role
from serving.gateway.service import ModelInfo


def health_body(models: Sequence[ModelInfo]) -> dict[str, object]:
    """The models, and all that an agent wants to find, without a word of the machine."""
    return {
        "model": next((model.id for model in models if Role.FIM in model.roles), None),
        "chat_model": next((model.id for model in models if Role.CHAT in model.roles), None),
        "device": "",
        "arch": "",
        "cpu_info": "",
        "cpu_count": 0,
        "cuda_devices": [],
        "version": {"build_date": "", "build_timestamp": "", "git_sha": "", "git_describe": f"v{_version()}"},
    }


@cache
def _version() -> str:
    return version("codegemma-serving")
