"""BabelCode's HumanEval and MBPP (Orlanski et al., arXiv 2302.01973): the same questions in eight languages.

Prompts and tests are written here from BabelCode's Python questions, not by its own pipeline, so figures are near the
model card's at best. What all eight languages cannot express is left out of each, so that they stay comparable.
"""

from collections.abc import Callable

from serving.evaluation.task import Task
from serving.evaluation.task_sets.babelcode.cpp import CppWriter
from serving.evaluation.task_sets.babelcode.csharp import CSharpWriter
from serving.evaluation.task_sets.babelcode.go import GoWriter
from serving.evaluation.task_sets.babelcode.java import JavaWriter
from serving.evaluation.task_sets.babelcode.javascript import JavaScriptWriter
from serving.evaluation.task_sets.babelcode.kotlin import KotlinWriter
from serving.evaluation.task_sets.babelcode.python import PythonWriter
from serving.evaluation.task_sets.babelcode.question import read_question
from serving.evaluation.task_sets.babelcode.rust import RustWriter
from serving.evaluation.task_sets.babelcode.types import UntranslatableError
from serving.evaluation.task_sets.babelcode.writer import Writer
from serving.evaluation.task_sets.mbpp import TESTED
from serving.evaluation.task_sets.task_set import Line, TaskSet

_WRITERS: tuple[type[Writer], ...] = (
    PythonWriter, CppWriter, CSharpWriter, GoWriter, JavaWriter, JavaScriptWriter, KotlinWriter, RustWriter,
)  # fmt: skip
_SOURCE = "github.com/google-research/babelcode, folder data/raw_datasets (Apache-2.0)"


def _reader(writer: Writer, tested: Callable[[int], bool]) -> Callable[[list[Line]], tuple[list[Task], list[str]]]:
    def read(lines: list[Line]) -> tuple[list[Task], list[str]]:
        tasks, left_out = [], []
        for line in lines:
            if not tested(int(line["id"])):
                continue
            try:
                question = read_question(line)
            except UntranslatableError as error:
                left_out.append(f"{line['title']} ({error})")
                continue
            tasks.append(
                Task(
                    name=question.name,
                    problem=question.name,
                    request={"prompt": writer.prompt(question), "stop": writer.stops()},
                    before=writer.before(question),
                    after=writer.after(question),
                    canonical=writer.canonical(question),
                )
            )
        return tasks, left_out

    return read


def _set(writer: Writer, name: str, row: str, file: str, tested: Callable[[int], bool]) -> TaskSet:
    return TaskSet(
        name=f"babelcode-{name}-{writer.language}",
        title=f"BabelCode {row}, {writer.title}",
        file=file,
        source=_SOURCE,
        read=_reader(writer, tested),
        language=writer.language,
        max_tokens=512,
        card=f"BC {row} {writer.title}",
    )


BABELCODE = (
    *(_set(w(), "humaneval", "HE", "babelcode_human_eval_questions.jsonl", lambda _: True) for w in _WRITERS),
    *(_set(w(), "mbpp", "MBPP", "babelcode_mbpp_questions.jsonl", TESTED.__contains__) for w in _WRITERS),
)
