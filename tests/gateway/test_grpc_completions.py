"""What a FIM request over gRPC can say beside its place, and what becomes of its answer."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1 import feedback_service_pb2 as feedback_pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.completion_pb2 import PostProcessing
from codegemma.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from codegemma.v1.generation_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP
from codegemma.v1.prompt_pb2 import ContextFile, FimInput
from google.protobuf.duration_pb2 import Duration

from serving.config import GatewayConfig, Role
from serving.gateway.access import OpenAccess
from serving.gateway.audit import AuditLog
from serving.gateway.records import RequestRecords
from serving.gateway.service import CodeService
from serving.telemetry import metrics
from tests.gateway.grpc_server import CONFIG, failure, fields_at_fault, grpc_server
from tests.gateway.scripted_backend import MAX_CONTEXT, ScriptedBackend, served_model
from tests.telemetry.memory_recorder import MemoryRecorder

CODE = "".join(f"value_{number} = {number}\n" for number in range(300))
NO_BUDGET = Duration(nanos=1)
SHOWN, ACCEPTED = feedback_pb.COMPLETION_EVENT_SHOWN, feedback_pb.COMPLETION_EVENT_ACCEPTED


class Gateway:
    """A service with records and an audit log, behind a gRPC server."""

    def __init__(self, backend: ScriptedBackend, audit: Path) -> None:
        self.backend = backend
        self.recorder = MemoryRecorder()
        self.audit = AuditLog(audit)
        self._audit_path = audit
        models = [served_model(backend, "2b", Role.FIM)]
        records = RequestRecords(self.recorder, [model.config for model in models], self.audit)
        self.service = CodeService(models, CONFIG, records=records, access=OpenAccess())

    def audited(self) -> list[dict[str, object]]:
        """The lines of the audit log, which is closed."""
        self.audit.close()
        return [json.loads(line) for line in self._audit_path.read_text().splitlines()]


@pytest.fixture
def gateway(backend: ScriptedBackend, tmp_path: Path) -> Gateway:
    return Gateway(backend, tmp_path / "audit.jsonl")


@pytest.fixture
async def channel(gateway: Gateway) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc_server(gateway.service) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


async def complete(channel: grpc.aio.Channel, **fields: Any) -> pb.CompleteResponse:
    fields = {"fim": FimInput(prefix="def f():\n    ", suffix="\n"), **fields}
    answer: pb.CompleteResponse = await CodeAssistServiceStub(channel).Complete(pb.CompleteRequest(**fields))
    return answer


async def parts(channel: grpc.aio.Channel, **fields: Any) -> list[pb.StreamCompleteResponse]:
    return [part async for part in CodeAssistServiceStub(channel).StreamComplete(pb.StreamCompleteRequest(**fields))]


async def test_other_files_go_before_the_place_by_kind_then_by_path(
    channel: grpc.aio.Channel, backend: ScriptedBackend
) -> None:
    files = [
        ContextFile(path="s.py", text="s", kind=ContextFile.KIND_SNIPPET),
        ContextFile(path="z.py", text="z"),
        ContextFile(path="b.py", text="b", kind=ContextFile.KIND_OPEN_FILE),
        ContextFile(path="i.py", text="i", kind=ContextFile.KIND_IMPORT),
    ]
    answer = await complete(channel, fim=FimInput(prefix="x = ", suffix="\n", path="m.py", context_files=files))
    encode = backend.tokenizer.encode
    others = [token for name in "ibzs" for token in (*encode(f"{name}.py\n{name}"), 70)]
    [request] = backend.requests
    assert list(request.prompt_ids) == [2, *others, *encode("m.py\n"), 67, *encode("x = "), 69, *encode("\n"), 68]
    assert not answer.HasField("truncation")


@pytest.mark.parametrize("stream", [False, True])
async def test_what_does_not_fit_is_left_out_and_said(
    channel: grpc.aio.Channel, gateway: Gateway, stream: bool
) -> None:
    snippet = ContextFile(path="s.py", text=CODE, kind=ContextFile.KIND_SNIPPET, score=1)
    fim = FimInput(prefix=CODE, suffix=CODE, context_files=[snippet])
    answer = (await parts(channel, fim=fim))[-1] if stream else await complete(channel, fim=fim)
    left_out = answer.truncation
    assert (left_out.prefix_characters > 0, left_out.suffix_characters > 0, left_out.context_lines) == (True, True, 300)
    assert answer.usage.prompt_tokens < MAX_CONTEXT
    for part in ("prefix", "suffix", "context"):
        assert gateway.recorder.total(metrics.TRUNCATED, model="2b", part=part) == 1


async def test_a_raw_prompt_that_is_too_long_is_refused(channel: grpc.aio.Channel) -> None:
    request = pb.CompleteRequest(prompt=CODE)
    error, details = await failure(CodeAssistServiceStub(channel).Complete(request))
    assert (error.code(), fields_at_fault(details)) == (grpc.StatusCode.INVALID_ARGUMENT, ["prompt"])


@pytest.mark.parametrize("score", [-0.1, 1.5, float("nan")])
async def test_a_score_beyond_0_to_1_is_refused_by_its_place(channel: grpc.aio.Channel, score: float) -> None:
    fim = FimInput(prefix="x", context_files=[ContextFile(path="a", text="a"), ContextFile(score=score)])
    _, details = await failure(CodeAssistServiceStub(channel).Complete(pb.CompleteRequest(fim=fim)))
    assert fields_at_fault(details) == ["fim.context_files[1].score"]


async def test_an_answer_that_takes_too_long_ends_with_whole_lines_and_says_so(
    channel: grpc.aio.Channel, backend: ScriptedBackend
) -> None:
    backend.text = "a = 1\nb = 2\n" + "c = 3\n" * 20
    backend.together = 3
    off = PostProcessing(end_of_block=False)
    answer = await complete(channel, time_budget=NO_BUDGET, post_processing=off)
    [choice] = answer.choices
    assert (choice.text, choice.finish_reason) == ("a = 1", FINISH_REASON_LENGTH)
    assert backend.running == 0
    whole = await complete(channel, time_budget=Duration(seconds=600), post_processing=off)
    assert (len(whole.choices[0].text) > 100, whole.choices[0].finish_reason) == (True, FINISH_REASON_STOP)


async def test_an_answer_ends_with_its_first_line_if_that_is_asked_for(
    channel: grpc.aio.Channel, backend: ScriptedBackend
) -> None:
    backend.text = "x = [\r\n        1,\r\n    ]\r\n"
    single = await complete(channel, post_processing=PostProcessing(single_line=True))
    assert (single.choices[0].text, single.choices[0].finish_reason) == ("x = [", FINISH_REASON_STOP)
    assert "1," in (await complete(channel)).choices[0].text


@pytest.mark.parametrize(
    ("switch", "text", "shown"),
    [
        ("end_of_block", "return 1\n\nprint(2)\n", "return 1"),
        ("suffix_overlap", "return 1\n\nafter()\n", "return 1\n"),
    ],
)
async def test_each_step_of_post_processing_can_be_switched_off(
    channel: grpc.aio.Channel, backend: ScriptedBackend, switch: str, text: str, shown: str
) -> None:
    backend.text = text
    fim = FimInput(prefix="def f():\n    ", suffix="\nafter()\n", path="a.py")
    off = dict.fromkeys(("end_of_block", "suffix_overlap", "whole_lines", "file_style"), False)
    assert (await complete(channel, fim=fim, post_processing=PostProcessing(**off))).choices[0].text == text
    on = PostProcessing(**{**off, switch: True})
    assert (await complete(channel, fim=fim, post_processing=on)).choices[0].text.rstrip("\n") == shown.rstrip("\n")


async def test_a_language_is_that_of_the_request_before_that_of_the_path(channel: grpc.aio.Channel) -> None:
    for path, named, language in (("a.py", "", "python"), ("a.py", "go", "go"), ("", "", "other")):
        answer = await complete(channel, fim=FimInput(prefix="x", path=path, language=named), request_id="mine")
        assert re.match(f"cmpl-mine-[0-9a-f]{{8}}:2b:a%20checkpoint:{language}:1:8:", answer.completion_id)


async def test_events_are_counted_once_and_audited(channel: grpc.aio.Channel, gateway: Gateway) -> None:
    fim = FimInput(prefix="x", path="a.py")
    last = (await parts(channel, fim=fim))[-1]
    feedback = FeedbackServiceStub(channel)
    for event in (SHOWN, SHOWN, ACCEPTED):
        message = feedback_pb.RecordEventRequest(completion_id=last.completion_id, event=event)
        assert await feedback.RecordEvent(message) == feedback_pb.RecordEventResponse()
    counted = [gateway.recorder.total(metrics.COMPLETION_EVENTS, model="2b", event=e) for e in ("shown", "accepted")]
    assert counted == [1, 1]
    assert gateway.recorder.total(metrics.ACCEPTED_CHARACTERS, language="python") == len("return 1")
    *_, line = gateway.audited()
    assert (line["route"], line["event"], line["model"]) == ("RecordEvent", "accepted", "2b")
    assert line["completion_id"] == last.completion_id


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"event": SHOWN}, "completion_id"),
        ({"event": SHOWN, "completion_id": "cmpl-x:7b:v:go:1:1"}, "completion_id"),
        ({"event": SHOWN, "completion_id": "cmpl-x:2b:v:go:1:1:AAAAAAAAAAAA"}, "completion_id"),
        ({}, "event"),
        ({"event": 99}, "event"),
    ],
)
async def test_an_event_that_says_nothing_is_refused_by_its_field(
    channel: grpc.aio.Channel, fields: dict[str, Any], field: str
) -> None:
    call = FeedbackServiceStub(channel).RecordEvent(feedback_pb.RecordEventRequest(**fields))
    error, details = await failure(call)
    assert (error.code(), fields_at_fault(details)) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


async def test_events_count_for_no_limit(backend: ScriptedBackend) -> None:
    config = GatewayConfig.model_validate({"quotas": {"per_tenant": {"requests_per_minute": 1}}})
    service = CodeService([served_model(backend, "2b", Role.FIM)], config, access=OpenAccess())
    async with grpc_server(service) as address, grpc.aio.insecure_channel(address) as limited:
        answer = await complete(limited)
        for event in (SHOWN, ACCEPTED, SHOWN):
            message = feedback_pb.RecordEventRequest(completion_id=answer.completion_id, event=event)
            await FeedbackServiceStub(limited).RecordEvent(message)
