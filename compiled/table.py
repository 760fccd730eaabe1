"""The committed figures, `compiled/tpu-v5e.json`: what the compiler said last, and what it must not exceed."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from compiled.figures import Figures

PATH = Path(__file__).with_name("tpu-v5e.json")
_HEAD = (
    "| configuration | step | memory, GB | moves, GB | times the minimum | copies | collectives | overlap | "
    "compiler's ms | HBM's ms |\n|---|---|---|---|---|---|---|---|---|---|"
)

type Table = dict[str, Figures]
"""By configuration, step and number of layers: see `key`."""


def key(configuration: str, step: object, layers: int | None) -> str:
    """`codegemma-2b bfloat16 on 1x1 | decode, 8 rows | all layers`."""
    return f"{configuration} | {step} | {layers or 'all'} layers"


def read(path: Path = PATH) -> Table:
    """Reads the committed figures."""
    return {name: Figures(**values) for name, values in json.loads(path.read_text()).items()}


def write(table: Mapping[str, Figures], path: Path = PATH) -> None:
    """Replaces the committed figures."""
    path.write_text(json.dumps({name: asdict(figures) for name, figures in table.items()}, indent=1) + "\n")


def markdown(table: Mapping[str, Figures]) -> str:
    """Renders the figures of whole models, as docs/performance.md has them."""
    whole = ((name.split(" | "), figures) for name, figures in table.items())
    rows = (_row(name[0], name[1], figures) for name, figures in whole if name[2] == "all layers")
    return "\n".join((_HEAD, *rows))


def _row(configuration: str, step: str, figures: Figures) -> str:
    collectives = f"{figures.collectives}, {figures.asynchronous} asynchronous" if figures.collectives else "none"
    cells: Iterable[object] = (
        configuration,
        step,
        f"{figures.memory / 1e9:.2f}",
        f"{figures.traffic / 1e9:.2f}",
        f"{figures.ratio:.3f}",
        figures.copies,
        collectives,
        f"{figures.covered:.0%}",
        f"{figures.milliseconds:.2f}",
        f"{figures.floor_milliseconds:.2f}",
    )
    return f"| {' | '.join(map(str, cells))} |"
