"""The id of a model with an adapter, as clients write it: `codegemma-7b-it:team-a`."""

import re

ADAPTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What clients write behind the model's id and a colon."""
ADAPTED_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,63}}:{ADAPTER_NAME.pattern}")
"""The id of a model, not an alias, with an adapter."""
_SEPARATOR = ":"
"""Between the name of a model, of which an alias may have some, and that of an adapter, which has none."""


def adapted_id(model_id: str, adapter: str) -> str:
    """The id of a model with an adapter."""
    return f"{model_id}{_SEPARATOR}{adapter}"


type AllowedAdapters = frozenset[str] | None
"""The adapters that a caller may use, as `adapted_id` writes them; None: all of them."""


def split_id(name: str) -> tuple[str, str]:
    """The inverse of `adapted_id`; the adapter is empty where there is no colon."""
    head, separator, tail = name.rpartition(_SEPARATOR)
    return (head, tail) if separator else (name, "")
