"""What the docstring of a class says to readers of the API's description."""

import re
from inspect import cleandoc

_SECTION = "\n\nAttributes:\n"
_ATTRIBUTE = re.compile(r"^  (\w+): (.*(?:\n    .*)*)", re.MULTILINE)


def about(kind: type) -> str:
    """All but the attributes."""
    return cleandoc(kind.__doc__ or "").partition(_SECTION)[0]


def attributes(kind: type) -> dict[str, str]:
    """What is said of each attribute, in the class or in one of its bases."""
    sections = (cleandoc(each.__doc__ or "").partition(_SECTION)[2] for each in reversed(kind.__mro__))
    return {name: " ".join(text.split()) for section in sections for name, text in _ATTRIBUTE.findall(section)}
