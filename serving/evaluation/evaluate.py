"""evaluate: asks a model every task that is not done yet, and runs what it answers."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from serving.evaluation.run_directory import NOT_ANSWERED, Result
from serving.evaluation.sandbox import Outcome, Sandbox
from serving.evaluation.service import Answer, RefusedError, Service, ServiceError
from serving.evaluation.task import Task
from serving.evaluation.toolchains import Toolchain


@dataclass(frozen=True)
class Question:
    """A task of a set, ready to be asked.

    Attributes:
      body: of the request for it.
      toolchain: that runs its program.
    """

    task_set: str
    task: Task
    body: Mapping[str, object]
    toolchain: Toolchain


async def evaluate(
    questions: Iterable[Question],
    service: Service,
    sandbox: Sandbox,
    keep: Callable[[Result], None],
    *,
    asking: int,
    running: int,
    on_result: Callable[[Result], None],
) -> None:
    """Asks and judges; every result is stored before it is reported.

    Args:
      questions: what is asked, in this order.
      service: that answers.
      sandbox: where programs run, never in this process or the service's.
      keep: is given each result, and keeps it.
      asking: how many requests at once.
      running: how many programs at once.
      on_result: called with each result.

    Raises:
      ServiceError: the service does not answer; what was answered until then is judged and kept.
    """
    places = asyncio.Semaphore(asking)
    programs = asyncio.Semaphore(running)
    failures: list[ServiceError] = []

    async def judge(question: Question) -> None:
        task = question.task
        refused: Outcome | None = None
        try:
            answer = await service.complete(question.body)
        except RefusedError as error:  # it would be every time, and none of the others would ever be asked
            answer = Answer("", "", 0, 0, 0, started=time.time(), seconds=0.0)
            refused = Outcome(NOT_ANSWERED, str(error))
        except ServiceError as error:
            failures.append(ServiceError(f"{task.name}: {error}"))
            return
        finally:
            places.release()
        async with programs:
            outcome = refused or await sandbox.run(task.program(answer.text), question.toolchain)
        result = Result(
            task_set=question.task_set,
            task=task.name,
            problem=task.problem,
            answer=answer.text,
            finish_reason=answer.finish_reason,
            how=outcome.how,
            detail=outcome.detail,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            cached_tokens=answer.cached_tokens,
            started=answer.started,
            seconds=answer.seconds,
        )
        keep(result)
        on_result(result)

    async with asyncio.TaskGroup() as group:
        for question in questions:
            await places.acquire()
            if failures:
                break
            group.create_task(judge(question))
    if failures:
        raise failures[0]
