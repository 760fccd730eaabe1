"""gRPC calls of every method that the server tells of, with messages made from their descriptors."""

import time
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from serving.gateway.grpc.reflection import public_descriptors
from serving.servers.grpc_services import GRPC_SERVICES
from tests.abuse.checks import grpc_faults
from tests.fuzz.drawn import each_drawn
from tests.fuzz.messages import messages, mutated
from tests.fuzz.report import Report
from tests.fuzz.served import MODEL

_SLOW_S = 30.0
_ENDLESS = "/grpc.health.v1.Health/Watch"
"""Answers until its client goes."""


def _methods() -> Iterator[tuple[str, MethodDescriptor]]:
    pool = public_descriptors()
    for name in GRPC_SERVICES:
        for method in pool.FindServiceByName(name).methods:
            yield f"/{name}/{method.name}", method


METHODS = dict(_methods())


def run_method(path: str, target: str, cases: int, seed: int) -> Report:
    """Calls a method: with valid messages, with ones that are likely to be answered, and with ones that have faults."""
    report, method = Report(path), METHODS[path]
    valid = messages(method.input_type)
    shares: tuple[tuple[SearchStrategy[bytes], int], ...] = (
        (_likely(method).map(_written), cases // 2),
        (valid.map(_written), cases // 4),
        (mutated(method.input_type), cases - cases // 2 - cases // 4),
    )
    with grpc.insecure_channel(target, [("grpc.max_send_message_length", -1)]) as channel:

        def send(data: bytes) -> None:
            report.cases += 1
            report.faults += [(fault, f"{data!r}") for fault in _faults(channel, method, data, report)]

        for position, (strategy, count) in enumerate(shares):
            each_drawn(strategy, count, seed + position, send)
    return report


@st.composite
def _likely(draw: st.DrawFn, method: MethodDescriptor) -> Message:
    message = draw(messages(method.input_type, likely=True))
    names = {field.name for field in method.input_type.fields}
    if "model" in names:
        message.model = draw(st.sampled_from(("", MODEL)))  # type: ignore[attr-defined]
    for name in names & {"timeout", "request_id"}:
        message.ClearField(name)  # rarely one that may be
    if "generation_config" in names:
        config = message.generation_config  # type: ignore[attr-defined]
        config.max_tokens, config.temperature = draw(st.integers(0, 40)), draw(st.floats(0, 2, width=32))
    return message


def _written(message: Message) -> bytes:
    return message.SerializeToString()


def _faults(channel: grpc.Channel, method: MethodDescriptor, data: bytes, report: Report) -> Iterator[str]:
    began = time.monotonic()
    try:
        _call(channel, method, report.kind, data)
        report.answers["OK"] += 1
    except grpc.RpcError as error:
        code = error.code()
        report.answers[code.name] += 1
        if code is not grpc.StatusCode.DEADLINE_EXCEEDED or not _asked_for_little_time(method, data):
            yield from grpc_faults(code, error.details() or "", data)
    except DecodeError:
        yield "an answer that is not of its type"
    if (seconds := time.monotonic() - began) > _SLOW_S:
        yield f"answered after {seconds:.0f} s"


def _call(channel: Any, method: MethodDescriptor, path: str, data: bytes) -> None:
    read = GetMessageClass(method.output_type).FromString
    timeout = 2 * _SLOW_S
    if path == _ENDLESS:
        watching = channel.unary_stream(path, response_deserializer=read)(data, timeout=timeout)
        next(watching)
        watching.cancel()
    elif method.client_streaming:
        for _ in channel.stream_stream(path, response_deserializer=read)(iter((data,)), timeout=timeout):
            pass
    elif method.server_streaming:
        for _ in channel.unary_stream(path, response_deserializer=read)(data, timeout=timeout):
            pass
    else:
        channel.unary_unary(path, response_deserializer=read)(data, timeout=timeout)


def _asked_for_little_time(method: MethodDescriptor, data: bytes) -> bool:
    message = GetMessageClass(method.input_type).FromString(data)
    return "timeout" in method.input_type.fields_by_name and message.HasField("timeout")
