"""NeMo checkpoints compared with the Hugging Face form of the same weights."""

from pathlib import Path
from typing import Any

import numpy as np

from sharding.checkpoint import open_checkpoint
from tests.sharding.checkpoint.files import Tensors, expected_parameters, plain


def layers(config: dict[str, Any]) -> int:
    """Of a model."""
    return int(config["num_hidden_layers"])


def assert_parameters(path: Path, config: dict[str, Any], tensors: Tensors, rounding: float = 0.0) -> None:
    """Looks that a checkpoint has them, but for so much that norms which are stored as 1 + w have lost."""
    checkpoint = open_checkpoint(path)
    expected = expected_parameters(config, tensors)
    assert checkpoint.format == "NVIDIA NeMo"
    assert checkpoint.tensors.keys() == expected.keys()
    for name, source in checkpoint.tensors.items():
        found = plain(source).read((), np.float32)
        assert found.shape == expected[name].shape
        # A norm that is stored as 1 + w has lost the last bits of w.
        allowed = rounding if "norm" in name else 0.0
        np.testing.assert_allclose(found, expected[name].astype(np.float32), rtol=0, atol=allowed, err_msg=name)
        part = tuple(slice(size // 4, size // 2) for size in source.shape)  # of a device
        np.testing.assert_array_equal(plain(source).read(part, np.float32), found[part], err_msg=name)
