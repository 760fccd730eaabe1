"""What is wrong with a compiled step."""

from collections.abc import Iterator

from compiled.figures import Figures
from compiled.steps import Step
from serving.models.chip_memory import V5E_BYTES

MOST_PROGRAM_BYTES = 30 * 10**6
"""Of one program: `serving.models.chip_memory.RUNTIME_BYTES` has room for eight."""
_TOLERANCE = 1.005
"""On traffic: small temporaries come and go with the compiler's mood."""


def problems(step: Step, figures: Figures, committed: Figures | None, reserved: int) -> Iterator[str]:
    """Yields what a step must not do, with the figure, the limit and what to do.

    Args:
      step: its shape.
      figures: what it does.
      committed: what the table allows it; None: the table has no such step.
      reserved: bytes that `serving.models.chip_memory` keeps for a step beside weights, cache, programs and runtime.
    """
    if figures.memory > V5E_BYTES:
        yield f"takes {_mb(figures.memory)} of a chip's {_mb(V5E_BYTES)}: raise serving.models.chip_memory's reserve"
    if figures.beside > reserved:
        yield f"takes {_mb(figures.beside)} beside weights and cache, sizing keeps {_mb(reserved)}: raise step_bytes"
    if figures.program > MOST_PROGRAM_BYTES:
        yield f"is a program of {_mb(figures.program)}, sizing counts on {_mb(MOST_PROGRAM_BYTES)}: raise RUNTIME_BYTES"
    if figures.not_aliased:
        yield f"copies {_mb(figures.not_aliased)} of the KV cache: it is not donated, or changes its layout"
    if step.is_decode and figures.copies:
        yield f"makes {figures.copies} copies of more than 1 MB: `--details` lists them"
    if committed is None:
        yield "is not in compiled/tpu-v5e.json: add it with `--write`"
    elif figures.traffic > committed.traffic * _TOLERANCE:
        yield f"moves {_mb(figures.traffic)}, the table allows {_mb(committed.traffic)}: `--write` changes it"


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
