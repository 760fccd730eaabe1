"""A fixed share of the damage, each kind of it at least once; `make damage` does it at length."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from serving.cli.main import app
from sharding.checkpoint import CheckpointError, open_checkpoint
from sharding.checkpoint.loader import load
from sharding.gemma import abstract_parameters
from sharding.mesh import make_mesh
from tests.damage.case import KINDS
from tests.damage.forms import FORMS
from tests.damage.reading import Reading, numbers_that_differ, read
from tests.damage.search import Outcome, Part, run

_CASES = 9
"""Of each form: neighbours in the order of kinds, which begin elsewhere for each form."""
_ALL_KINDS = ("NeMo in a tar.gz", "NeMo zarr in zlib")
"""Forms to which each kind is done that suits: those that suit few others are among them."""
_SEED = 1

pytestmark = pytest.mark.timeout(900)  # all cases are run in the first test: 15 s of a processor, on whatever machine


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    parts: list[Part] = [
        (form, _SEED, 0, None) if form in _ALL_KINDS else (form, _SEED, _CASES * place, _CASES * (place + 1))
        for place, form in enumerate(FORMS)
    ]
    return list(run(parts))


@pytest.mark.parametrize("form", FORMS)
def test_what_is_damaged_is_refused_in_a_line_or_differs_in_damaged_numbers_alone(
    form: str, outcomes: list[Outcome]
) -> None:
    of_form = [outcome for outcome in outcomes if outcome.form == form]
    assert len(of_form) >= _CASES
    assert not [outcome for outcome in of_form if outcome.faults]


def test_300_cases_of_every_kind_are_tried_and_most_are_refused(outcomes: list[Outcome]) -> None:
    assert len(outcomes) >= 300
    assert KINDS.keys() <= {outcome.kind for outcome in outcomes}
    assert sum(not outcome.said.startswith("read") for outcome in outcomes) > len(outcomes) / 2


@pytest.mark.parametrize("form", ["Hugging Face", "GGUF", "NeMo in a tar", "Keras", "gemma_pytorch"])
def test_inspect_and_the_loader_say_what_the_reader_says(form: str, tmp_path: Path) -> None:
    path = FORMS[form].write(tmp_path / "whole")
    embedding = read(path).numbers["embedder.weight"][0].tobytes()
    file = next(file for file in (tmp_path / "whole").rglob("*") if file.is_file() and embedding in file.read_bytes())
    file.write_bytes(file.read_bytes().replace(embedding, b"\xff" * len(embedding)))
    with pytest.raises(CheckpointError, match="not finite") as refused:
        read(path)
    checkpoint = open_checkpoint(path)
    with pytest.raises(CheckpointError) as of_loader:
        load(checkpoint, abstract_parameters(checkpoint.config, make_mesh(1), jnp.float32))
    assert str(of_loader.value) == str(refused.value)
    inspected = CliRunner().invoke(app, ["inspect", "--verify", str(path)])
    assert inspected.exit_code == 1
    assert f"error: {refused.value}\n" in inspected.stderr


def test_numbers_differ_where_a_value_or_a_shape_does() -> None:
    before = Reading({}, {"a": np.arange(6.0), "b": np.ones(2)}, None)
    assert numbers_that_differ(before, before) == 0
    assert numbers_that_differ(before, Reading({}, {"a": np.array([0, 1, 2, 3, 4, 6.0]), "b": np.ones(2)}, None)) == 1
    assert numbers_that_differ(before, Reading({}, {"a": np.arange(6.0).reshape(2, 3)}, None)) == 8
