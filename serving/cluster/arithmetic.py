"""Arithmetic as the user sees it: each number with its formula."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the arithmetic: quantity, formula, result."""

    what: str
    how: str
    result: str


def gigabytes(size: int) -> str:
    """`5.01 GB`, of 10 ** 9 bytes."""
    return f"{size / 1e9:.3g} GB" if size < 1e12 else f"{size / 1e12:.3g} TB"


def milliseconds(duration_s: float) -> str:
    """`12.3 ms`, or `1.23 s`."""
    return f"{duration_s * 1e3:.3g} ms" if duration_s < 1 else f"{duration_s:.3g} s"
