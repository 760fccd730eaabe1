"""Building the application: what cannot work is refused before anything starts."""

from pathlib import Path

import pytest

from serving.app import build
from tests.service.tiny_codegemma import write_tiny_codegemma


def arguments(checkpoint: Path, **fields: object) -> dict[str, object]:
    return {"models": [{"id": "tiny", "checkpoint": str(checkpoint), "roles": ["fim"]} | fields]}


def test_chips_that_do_not_divide_the_model_are_refused_with_the_arithmetic(tmp_path: Path) -> None:
    checkpoint = write_tiny_codegemma(tmp_path)
    build(arguments(checkpoint))
    with pytest.raises(ValueError, match=r"models.tiny.topology: tensor_parallel=3 does not divide.*= 3 x \d+ \+ \d"):
        build(arguments(checkpoint, topology={"accelerator": "cpu", "chips_per_host": 3}))


def test_a_context_that_the_model_was_not_trained_for_is_refused(tmp_path: Path) -> None:
    checkpoint = write_tiny_codegemma(tmp_path)
    with pytest.raises(ValueError, match="max_context=100000, but the model was trained for"):
        build(arguments(checkpoint, limits={"max_context": 100_000}))


def test_a_checkpoint_that_only_the_groups_have_is_left_to_them(tmp_path: Path) -> None:
    build(arguments(tmp_path / "elsewhere"))
