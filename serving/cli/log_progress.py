"""log_progress: what a bar shows on a terminal, as lines now and then for a log."""

from collections.abc import Callable

from rich.console import Console

_STEPS = 20


def log_progress(console: Console, doing: str) -> Callable[[int, int], None]:
    """A function to call with the bytes done and all, which prints a line for each twentieth; none on a terminal."""
    said = -1

    def say(done: int, total: int) -> None:
        nonlocal said
        step = _STEPS if done >= total else done * _STEPS // total
        if not console.is_terminal and step > said:
            said = step
            console.out(f"{doing}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB", highlight=False)

    return say
