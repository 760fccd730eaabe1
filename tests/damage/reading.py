"""What a reader gives of a checkpoint: numbers, configuration, tokenizer."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sharding.adapters.reader import read_adapter
from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.quantised import QuantisedSource
from sharding.parameters import LORA_A
from tests.damage.forms import MODEL, RANK

_VALUES = frozenset(
    {
        *("max_context", "rms_norm_eps", "rope_theta", "rope_scale", "query_scale"),
        *("sliding_window", "global_every", "local_rope_theta"),
    }
)
"""Fields of a configuration of which another value is another model's, and nothing in the checkpoint tells."""


@dataclass(frozen=True)
class Reading:
    """What was read.

    Attributes:
      config: but what no reader can tell from another model's.
      numbers: by parameter, as they are stored.
      tokenizer: its bytes; None: there is none.
    """

    config: Mapping[str, Any]
    numbers: Mapping[str, npt.NDArray[Any]]
    tokenizer: bytes | None


def read(path: Path, when_open: Callable[[], object] = lambda: None) -> Reading:
    """Reads all of a checkpoint, or of an adapter; `when_open` is called before its numbers are.

    Raises:
      CheckpointError, AdapterError: it is damaged.
    """
    if (path / "adapter_config.json").exists() or path.name == "adapter":
        adapter = read_adapter(path, MODEL, RANK)
        when_open()
        # Another alpha is another adapter's, and nothing tells: B without it.
        alpha = json.loads((path / "adapter_config.json").read_bytes())["lora_alpha"]
        weights = {name: each if name.endswith(LORA_A) else each / alpha for name, each in adapter.weights.items()}
        return Reading({}, weights, None)
    checkpoint = open_checkpoint(path)
    when_open()
    numbers: dict[str, npt.NDArray[Any]] = {}
    for name, source in checkpoint.tensors.items():
        if isinstance(source, QuantisedSource):
            numbers |= {name: source.values(()), f"{name} (scales)": source.scales(())}
        else:
            numbers[name] = source.read(())
    config = {name: value for name, value in asdict(checkpoint.config).items() if name not in _VALUES}
    return Reading(config, numbers, None if checkpoint.tokenizer is None else checkpoint.tokenizer.read())


def numbers_that_differ(one: Reading, other: Reading) -> int:
    """How many there are; all of a tensor of which the shape differs."""
    count = 0
    for name in one.numbers.keys() | other.numbers.keys():
        before, after = one.numbers.get(name), other.numbers.get(name)
        if before is None or after is None or before.shape != after.shape or before.dtype != after.dtype:
            count += max(0 if each is None else each.size for each in (before, after))
        else:
            count += int(np.count_nonzero(~np.isclose(before, after, rtol=1e-6, atol=0)))
    return count
