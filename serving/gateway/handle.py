"""The backend of a model: its replica groups, reached through a Ray Serve handle."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

from ray import serve
from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from serving.balancing import session_of
from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest, Priority
from serving.errors import Reason, ServingError

_RETRY_AFTER_S = 1.0
_HEALTH_TIMEOUT_S = 2.0


class HandleBackend:
    """Implements `serving.gateway.choice.ModelBackend` over the deployment of one model."""

    def __init__(self, model: str, handle: DeploymentHandle[Any]) -> None:
        self._model = model
        self._handle = handle
        self._aborting: set[asyncio.Task[None]] = set()  # asyncio itself keeps tasks weakly only

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationChunk, None]:
        """Generate one sequence on some group of the model; closing the generator aborts it there.

        A group that is lost before it gave anything is not the client's business: another one is tried once.

        Raises:
          ServingError: OVERLOADED when the model's queue is full, UNAVAILABLE when its group is lost, or what
            the group itself refused.
        """
        # What is typed goes back to where its file is; of a conversation, one group knows as little as any other.
        home = session_of(request.session_id, request.prompt_ids) if request.priority is Priority.URGENT else ""
        begun = False
        try:
            async with aclosing(self._generate_once(request, home)) as chunks:
                async for chunk in chunks:
                    begun = True
                    yield chunk
            return
        except ServingError as error:
            if begun or error.reason is not Reason.UNAVAILABLE:
                raise
        again = replace(request, request_id=f"{request.request_id}-again")  # the lost one was aborted by its id
        async with aclosing(self._generate_once(again, home="")) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _generate_once(self, request: GenerationRequest, home: str) -> AsyncGenerator[GenerationChunk, None]:
        finished = False
        # A response generator, with `stream=True`.
        chunks: Any = self._handle.options(stream=True, session_id=home).generate.remote(request)
        try:
            async for chunk in chunks:
                finished = chunk.finish_reason is not None
                if chunk.finish_reason in (FinishReason.ERROR, FinishReason.ABORTED):
                    raise self._lost()  # nobody but this backend aborts, and then it does not read on
                yield chunk
        except ServingError as error:  # Ray raises a subclass of its own; make it plain again
            raise ServingError(error.reason, error.message, error.field, error.retry_after_s) from None
        except BackPressureError as error:
            raise ServingError(
                Reason.OVERLOADED,
                f"model {self._model!r} has {error.args[0]} requests waiting, its limit. Try again in a moment.",
                retry_after_s=_RETRY_AFTER_S,
            ) from None
        except (RayActorError, DeploymentUnavailableError) as error:
            raise self._lost() from error
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            raise self._lost() from error  # cancelled by the group's end, or by Ray Serve for a client that is gone
        finally:
            # Not only for a client that went away: without this a cancelled stream may run on in the group.
            chunks.cancel()
            if not finished:
                self._abort(request.request_id)

    def _lost(self) -> ServingError:
        return ServingError(
            Reason.UNAVAILABLE,
            f"model {self._model!r} lost the replica group that served this request. Try again.",
            retry_after_s=_RETRY_AFTER_S,
        )

    async def ready(self) -> bool:
        """Whether Ray Serve knows of a healthy group of the model.

        Groups are not asked themselves: a call to one whose rows are all taken would wait for a row.
        """
        try:
            async with asyncio.timeout(_HEALTH_TIMEOUT_S):
                status = await asyncio.to_thread(serve.status)
        except (TimeoutError, RayError, RayServeException):
            return False
        deployment = status.applications[serve.get_replica_context().app_name].deployments[self._model]
        return any(state == "RUNNING" and count for state, count in deployment.replica_states.items())

    def _abort(self, request_id: str) -> None:
        """Say it once more: a cancellation that meets a busy replica is sometimes lost (seen: 1 in 200)."""
        task = asyncio.create_task(self._broadcast_abort(request_id))
        self._aborting.add(task)
        task.add_done_callback(self._aborting.discard)

    async def _broadcast_abort(self, request_id: str) -> None:
        with suppress(RayError, RayServeException, asyncio.CancelledError):
            await self._handle.broadcast("abort", request_id).results_async()
