"""The one error of this package."""

_MOST_CHARACTERS = 900


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names the tensor, the file and what is wrong.

    It is one line, whatever names and values a file has.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """A text in which nothing breaks the line or is beyond it: parts of it come from files."""
    text = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    half = _MOST_CHARACTERS // 2
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:half]} ... {text[-half:]}"
