"""Inspection of a LoRA adapter: what it is, and whether a model can take it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from serving.checkpoints.verification import OnProgress, unreadable
from sharding.adapters import AdapterError
from sharding.adapters.forms import adapter_form, open_adapter
from sharding.adapters.stored import StoredAdapter
from sharding.checkpoint import CheckpointError, read_config
from sharding.checkpoint.errors import one_line


@dataclass(frozen=True, kw_only=True)
class AdapterInspection:
    """What was found.

    Attributes:
      form: the name of its form; None: it cannot be read, and `problems` says why.
      rank: the highest of its projections'.
      projections: that it adapts, in the words of docs/adapters.md.
      made_for: the model that it was trained on, as it says.
      numbers: how many it has.
      file_bytes: of its files.
      stored_as: by type, in the form's words: how many numbers.
      base: the model that it was compared with; None: none was named.
      verified: whether its numbers were read, not its headers alone.
      problems: what is wrong.
    """

    path: str
    form: str | None = None
    rank: int = 0
    projections: tuple[str, ...] = ()
    made_for: str = ""
    numbers: int = 0
    file_bytes: int = 0
    stored_as: Mapping[str, int] = field(default_factory=dict)
    base: str | None = None
    verified: bool = False
    problems: tuple[str, ...] = ()


def inspect_adapter(
    path: Path,
    base: Path | None = None,
    *,
    verify: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> AdapterInspection:
    """Looks at an adapter; reads its headers, and all of its numbers to `verify` them.

    Args:
      path: a file or directory of any form.
      base: a checkpoint that it should be an adapter of.
      verify: look whether every number is there, and finite.
      on_progress: called as `on_progress(done, total)`, in numbers while they are verified.
    """
    named = str(base) if base is not None else None
    try:
        stored = open_adapter(path)
        size = sum(file.stat().st_size for file in adapter_form(path).files(path))
    except (AdapterError, OSError) as error:
        return AdapterInspection(path=str(path), base=named, problems=(str(error),))
    types = Counter[str]()
    for matrix in stored.tensors.values():
        types[matrix.type] += prod(matrix.shape)
    problems = _misfit(stored, base) if base is not None else []
    if verify:
        problems += unreadable(list(stored.tensors.values()), on_progress)
    return AdapterInspection(
        path=str(path),
        form=stored.form,
        rank=stored.rank,
        projections=stored.projections,
        made_for=one_line(stored.made_for),
        numbers=types.total(),
        file_bytes=size,
        stored_as=dict(types.most_common()),
        base=named,
        verified=verify,
        problems=tuple(problems),
    )


def _misfit(stored: StoredAdapter, base: Path) -> list[str]:
    try:
        stored.updates(read_config(base))
    except (CheckpointError, OSError) as error:
        return [str(error)]
    return []
