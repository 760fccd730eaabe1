"""The committed figures, `compiled/tpu-v5e.json`: what the compiler said last, and what it must not exceed."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from compiled.figures import Figures

PATH = Path(__file__).with_name("tpu-v5e.json")
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
_IN_PAGE = re.compile(r"(?<=<!-- compiled/tpu-v5e.json -->\n)(.*?)(?=\n<!-- end -->)", re.DOTALL)
_HEAD = (
    "| configuration | step | memory, GB | moves, GB | times the minimum | copies | collectives | overlap | "
    "compiler's ms | top-p adds | HBM's ms |\n|---|---|---|---|---|---|---|---|---|---|---|"
)

type Table = dict[str, Figures]
"""By configuration, step and number of layers: see `key`."""


def key(configuration: str, step: object, layers: int | None) -> str:
    """`codegemma-2b bfloat16 on 1x1 | decode, 8 rows | all layers`."""
    return f"{configuration} | {step} | {layers or 'all'} layers"


def read(path: Path = PATH) -> Table:
    """Reads the committed figures."""
    return {name: Figures(**values) for name, values in json.loads(path.read_text()).items()}


def write(table: Mapping[str, Figures], path: Path = PATH, page: Path = PAGE) -> None:
    """Replaces the committed figures, and those that the page shows."""
    path.write_text(json.dumps({name: asdict(table[name]) for name in sorted(table)}, indent=1) + "\n")
    page.write_text(_IN_PAGE.sub(markdown(table), page.read_text()))


def shown(page: Path = PAGE) -> str:
    """Returns the table that the page shows.

    Raises:
      ValueError: it has no place for it.
    """
    found = _IN_PAGE.search(page.read_text())
    if found is None:
        raise ValueError(f"{page} lacks <!-- compiled/tpu-v5e.json --> and <!-- end -->. Put them around the table.")
    return found[1]


def markdown(table: Mapping[str, Figures]) -> str:
    """Renders the figures of whole models: by configuration, decode before prefill, small before large."""
    whole = [name.split(" | ") for name in table if name.endswith("| all layers")]
    whole.sort(key=lambda name: (name[0], name[1].split(",")[0], int(name[1].split()[1])))
    return "\n".join((_HEAD, *(_row(name[0], name[1], table[" | ".join(name)]) for name in whole)))


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
        f"{figures.top_p_milliseconds:.2f}",
        f"{figures.floor_milliseconds:.2f}",
    )
    return f"| {' | '.join(map(str, cells))} |"
