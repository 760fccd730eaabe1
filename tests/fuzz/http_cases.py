"""HTTP requests that schemathesis makes from the OpenAPI document, and what is wrong with their answers."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import requests
import schemathesis
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import negative_data_rejection, response_headers_conformance

from serving.gateway.http.openapi.components import reference
from serving.gateway.http.unsupported import REFUSED
from tests.abuse.checks import text_faults
from tests.fuzz.drawn import each_drawn
from tests.fuzz.report import Report
from tests.fuzz.served import MODEL
from tests.gateway.http.openapi.document import DOCUMENT, answer_faults, operations

type AnyCase = Any
"""A `Case` of schemathesis, for an operation of whatever types."""
_SLOW_S = 30.0
_TEXT = st.text(min_size=1, max_size=40)
_WHERE_EMPTY: dict[str, SearchStrategy[Any]] = {
    "prompt": _TEXT,
    "input": _TEXT,
    "input_prefix": _TEXT,
    "messages": st.fixed_dictionaries({"role": st.just("user"), "content": _TEXT}).map(lambda each: [each]),
}
"""What there must be something of."""
_LIMITS: dict[str, SearchStrategy[Any]] = {
    "max_tokens": st.integers(0, 40),
    "max_output_tokens": st.integers(0, 40),
    "n_predict": st.integers(0, 40),
    "options": st.fixed_dictionaries({"num_predict": st.integers(1, 40)}),
}
"""Of the length of an answer, wherever the operation has one: a small one takes less time."""
_LIKELY: dict[str, SearchStrategy[Any]] = _LIMITS | {
    "model": st.just(MODEL),
    "name": st.just(MODEL),
    "n": st.integers(1, 3),
    "n_cmpl": st.integers(1, 3),
    "temperature": st.floats(0, 2),
    "max_completion_tokens": st.integers(0, 40),
    "logprobs": st.booleans(),
    "top_logprobs": st.integers(0, 3),
    "best_of": st.none(),
    "timeout": st.floats(1, 30),
}
"""Values that a service takes, which the types of fields alone rarely come to."""
_SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
_DESCRIBED = {f"{method} {path}": operation for method, path, operation in operations()}
OPERATIONS: dict[str, APIOperation[Any, Any, Any, Any]] = {
    operation.label: operation
    for operation in (result.ok() for result in _SCHEMA.get_all_operations())  # type: ignore[union-attr]
}


def run_operation(label: str, url: str, cases: int, seed: int) -> Report:
    """Sends requests of an operation: as described, as described and likely to be answered, and otherwise."""
    report, operation = Report(label), OPERATIONS[label]
    described = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    shares = (_likely(described, label), cases // 2), (described, cases // 4), (wrong, cases - cases // 2 - cases // 4)
    with requests.Session() as session:

        def send(case: AnyCase) -> None:
            report.cases += 1
            report.faults += [(fault, _shown(case)) for fault in _faults(case, url, session, report)]

        for position, (strategy, count) in enumerate(shares):
            each_drawn(strategy, count, seed + position, send)
    return report


def _likely(cases: SearchStrategy[AnyCase], label: str) -> SearchStrategy[AnyCase]:
    supported = fields(label)
    limits, needed = _LIMITS.keys() & supported, _WHERE_EMPTY.keys() & supported

    @st.composite
    def likely(draw: st.DrawFn) -> AnyCase:
        case = draw(cases)
        if isinstance(case.body, dict):
            for name in sorted((case.body.keys() & _LIKELY.keys()) | limits):
                case.body[name] = draw(_LIKELY[name])
            for name in sorted(name for name in needed if not case.body.get(name)):
                case.body[name] = draw(_WHERE_EMPTY[name])
        return case

    return likely()


def fields(label: str) -> set[str]:
    """The fields of an operation's body that are supported."""
    content = _DESCRIBED[label].get("requestBody", {}).get("content", {}).get("application/json", {"schema": {}})
    kinds = content["schema"].get("anyOf", [content["schema"]])
    schemas = DOCUMENT["components"]["schemas"]
    return {
        name
        for kind in kinds
        if "$ref" in kind
        for name, field in schemas[reference(kind)]["properties"].items()
        if field.get("description") != REFUSED
    }


def _faults(case: AnyCase, url: str, session: requests.Session, report: Report) -> Iterator[str]:
    began = time.monotonic()
    try:
        response = case.call(base_url=url, session=session, timeout=2 * _SLOW_S)
    except requests.RequestException as error:
        report.answers["none"] += 1
        yield f"no answer: {error!r}"
        return
    report.answers[str(response.status_code)] += 1
    if (seconds := time.monotonic() - began) > _SLOW_S:
        yield f"answered after {seconds:.0f} s"
    if response.status_code >= 500 and not _is_right(case, response.status_code):
        yield f"a server error: {response.status_code} {response.text[:300]}"
    if response.status_code >= 400:
        yield from text_faults(_message(response.text), str((case.body, case.path_parameters, case.headers)).encode())
    if case.method != "HEAD":
        answer = httpx.Response(response.status_code, headers=_flat(response.headers), content=response.content)
        yield from answer_faults(_DESCRIBED[report.kind], answer)
    try:
        case.validate_response(response, checks=[negative_data_rejection, response_headers_conformance])
    except FailureGroup as failures:
        yield from (f"{failure.title}: {failure.message}" for failure in failures.exceptions)


def _message(text: str) -> str:
    """What an error says, in whatever form; all of one that is in none."""
    match json.loads(text) if text.startswith("{") else None:
        case {"error": {"message": str(message)}} | {"error": str(message)} | {"message": str(message)}:
            return message
    return text


def _is_right(case: AnyCase, status: int) -> bool:
    """Whether a server error is what was asked for: what is not implemented, or no time for an answer."""
    return status == 501 or (status == 504 and isinstance(case.body, dict) and case.body.get("timeout") is not None)


def _flat(headers: dict[str, list[str]]) -> dict[str, str]:
    return {name: values[0] for name, values in headers.items() if name != "content-encoding"}


def _shown(case: AnyCase) -> str:
    return f"{case.headers} {case.path_parameters} {case.body!r}"
