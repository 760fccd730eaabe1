"""A fixed share of the fuzzing, and what it takes for a fault; `make fuzz` runs it at length."""

from collections.abc import Iterator

import pytest
from codegemma.v1.code_assist_service_pb2 import ChatRequest, CompleteRequest
from hypothesis import given, settings

from serving.servers.grpc_services import GRPC_SERVICES
from tests.fuzz.grpc_cases import METHODS
from tests.fuzz.http_cases import OPERATIONS
from tests.fuzz.messages import messages
from tests.fuzz.report import Report
from tests.fuzz.served import Held, Served, served
from tests.fuzz.suite import leftovers, parts, run_parts
from tests.gateway.http.openapi.document import operations

_SEED = 1
_CASES = 200


@pytest.fixture(scope="module")
def service() -> Iterator[Served]:
    with served() as running:
        yield running


def test_what_the_descriptions_allow_and_what_not_is_answered_as_they_say_and_leaves_nothing(service: Served) -> None:
    for _ in run_parts(parts(service, 60), _SEED):
        pass  # so that what is used is in memory
    before = service.held()
    reports = list(run_parts(parts(service, _CASES), _SEED + 1))
    assert not [line for report in reports for line in report.told()]
    assert sum(report.cases for report in reports) >= _CASES
    assert not leftovers(service, before)


def test_every_operation_and_every_method_is_run(service: Served) -> None:
    labels = {part.label for part in parts(service, _CASES)}
    assert labels == {*OPERATIONS, *METHODS}
    assert OPERATIONS.keys() == {f"{method} {path}" for method, path, _ in operations()}
    assert {path.split("/")[1] for path in METHODS} == set(GRPC_SERVICES)
    assert [part.label for part in parts(service, _CASES, "POST /infill")] == ["POST /infill"]


def test_what_is_left_is_reported(service: Served) -> None:
    now = service.held()
    less = Held(now.requests, now.pages, now.tasks - 20, now.files - 20, now.memory - 2**30, now.recompilations)
    told = " ".join(leftovers(service, less, within_s=0))
    assert "tasks" in told
    assert "open files" in told
    assert "memory grew" in told


def test_faults_that_say_the_same_are_counted() -> None:
    report = Report("POST /infill", faults=[("a server error: 500", "{}"), ("a server error: 500", "[]")])
    [line] = report.told()
    assert line.split()[:3] == ["2", "x", "POST"]
    assert "{}" in line


@settings(deadline=None, max_examples=50)
@given(message=messages(ChatRequest.DESCRIPTOR, likely=True))
def test_a_likely_message_has_what_a_service_will_not_do_without(message: ChatRequest) -> None:
    assert message.messages
    assert all(each.role for each in message.messages)


@settings(deadline=None, max_examples=50)
@given(message=messages(CompleteRequest.DESCRIPTOR, likely=True))
def test_a_likely_message_has_one_of_each_oneof(message: CompleteRequest) -> None:
    assert message.WhichOneof("input")
