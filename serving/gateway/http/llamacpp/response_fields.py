"""selected: what a client wants to see of an object."""

from collections.abc import Mapping, Sequence

from serving.gateway.http.json_text import Json


def selected(content: Json, fields: Sequence[str]) -> Json:
    """The object with these fields alone, all of them at its root.

    Args:
      content: the object.
      fields: names of fields, with `/` between those of nested ones (`timings/prompt_n`), which are names in the
        result as they are. What is not there is left out. None: everything as it is.
    """
    if not fields:
        return content
    found = ((field, _at(content, field.split("/"))) for field in fields)
    return {field: value for field, value in found if value is not None}


def _at(content: object, names: Sequence[str]) -> object:
    for name in names:
        content = content.get(name) if isinstance(content, Mapping) else None
    return content
