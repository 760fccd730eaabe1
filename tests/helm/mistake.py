"""Mistakes in values, and what Helm says of one."""

from dataclasses import dataclass
from typing import Any

from tests.helm.chart import CASE, Case, merged, template


@dataclass(frozen=True)
class Mistake:
    """Values on top of a good case, and what the message must name."""

    names: tuple[str, ...]
    values: dict[str, Any]
    base: str = "gpu"


def refusal(helm: str, mistake: Mistake, *arguments: str) -> str:
    """What Helm says, given further arguments; fails if it renders."""
    base = CASE[mistake.base]
    case = Case("mistake", base.profiles, merged(base.values, mistake.values))
    result = template(helm, case, *arguments, check=False)
    assert result.returncode, f"{mistake.values} was accepted"
    return result.stderr


def assert_named(mistake: Mistake, message: str) -> None:
    """Fails if a template's message lacks what it must name."""
    assert "nil pointer" not in message
    for name in mistake.names:
        assert name in message
