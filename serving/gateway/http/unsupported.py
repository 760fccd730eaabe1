"""refuse_unless_neutral: what an API has and this service has not is refused where it would change an answer."""

from collections.abc import Mapping
from typing import Any

from serving.errors import FieldError, Reason

REFUSED = "Is not supported here, and refused with any value that would change the answer."
"""What the description of the API says of such a field."""


def refuse_unless_neutral(body: Mapping[str, Any], values: Mapping[str, tuple[object, ...]], within: str = "") -> None:
    """Looks through a body, or what is `within` one (`options.`), for fields that have none of their neutral `values`.

    Raises:
      ServingError: UNSUPPORTED_PARAMETER with the field.
    """
    for name, neutral in values.items():
        value = body.get(name)
        if not (value is None or value is False or value in neutral):
            raise unsupported(f"{within}{name}")


def unsupported(name: str, fault: str = "is not supported here, and would change the answer.") -> FieldError:
    """The error of a field that is."""
    return FieldError(Reason.UNSUPPORTED_PARAMETER, name, f"{fault} Leave it out.")
