"""What HAProxy says when there is no Gateway."""

from serving.errors import Reason, ServingError
from serving.gateway.http.errors import error_response
from serving.haproxy import unavailable_response


def test_haproxy_says_what_the_gateway_would_say() -> None:
    head, _, body = unavailable_response().partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    said = dict(header.split(": ") for header in headers)
    message = "No gateway answers. It may be starting; try again."
    expected = error_response(ServingError(Reason.UNAVAILABLE, message))
    assert status == f"HTTP/1.1 {expected.status_code} Service Unavailable"
    assert said == dict(expected.headers)
    assert body == expected.body
