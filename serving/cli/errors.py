"""How commands report errors: one line on standard error."""

from rich.console import Console


def say_error(message: str) -> None:
    """Prints one line on standard error."""
    Console(stderr=True, soft_wrap=True).print(f"error: {message}", style="red", markup=False, highlight=False)


def say_note(message: str) -> None:
    """Prints a note, not an error, on standard error."""
    Console(stderr=True, soft_wrap=True).print(message, style="dim", markup=False, highlight=False)
