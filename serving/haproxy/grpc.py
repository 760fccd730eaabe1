"""What comes by gRPC, and what goes back."""

import re
from pathlib import Path

from serving.errors import Reason, ServingError
from serving.haproxy.answers import (
    ERROR_STATUSES,
    NO_GATEWAY,
    NOT_GRPC,
    choose_form,
    grpc_error_file,
    grpc_rule,
    json_rule,
    refuse,
)
from serving.haproxy.headers import with_address, without_bad_ids, without_ray_headers
from serving.haproxy.sections import Section, one
from serving.servers.grpc_services import GRPC_SERVICES

_HEALTH = "ray.serve.RayServeAPIService/Healthz"
"""Answered by HAProxy itself."""
_FALLBACK = "grpc_fallback_backend"
"""Ray Serve's own proxy, of which only its health is asked."""
_MESSAGE_HEADER_BYTES = 5


def harden_grpc(sections: dict[str, Section], directory: Path, body_s: float) -> None:
    """Only calls of this server's services reach a Gateway, and all errors are gRPC statuses."""
    _calls_are_checked(one(sections, "frontend grpc_frontend"), directory)
    backends = [section for section in sections.values() if section.is_grpc]
    for section in backends:
        _gateways_get_messages(section, directory, body_s)
    if not [section for section in backends if section.name != f"backend {_FALLBACK}"]:
        # Ray Serve says NOT_FOUND while no application is there, which clients do not try again.
        nothing = one(sections, "backend default_grpc_backend")
        nothing.remove("http-request return .*")
        nothing.begin(f"http-request return {grpc_rule(NO_GATEWAY)}")


def _calls_are_checked(section: Section, directory: Path) -> None:
    # Without `proto h2` HTTP/1 gets an answer, too.
    section.replace(r"bind (\S+:\d+) proto h2", r"bind \1")
    bad_metadata = ServingError(
        Reason.INVALID_ARGUMENT, "Metadata has bytes that are not printable ASCII. Send such bytes under a key in -bin."
    )
    unknown = ServingError(Reason.ROUTE_NOT_FOUND, "This server has no such gRPC service.")
    services = "|".join(map(re.escape, GRPC_SERVICES))
    section.begin(
        # HAProxy leaves it out of Ray Serve's answers and ours, and not every client takes one without.
        "http-after-response set-header content-type application/grpc unless { res.hdr(content-type) -m found }",
        *choose_form(),
        *without_bad_ids("request_id"),
        refuse(
            json_rule(NOT_GRPC, directory),
            "unless { method POST } { req.ver 2.0 } { req.hdr(content-type) -m beg application/grpc }",
        ),
        refuse(grpc_rule(unknown), f"unless {{ pathq -m reg '^/(({services})/[A-Za-z0-9_]+|{re.escape(_HEALTH)})$' }}"),
        refuse(grpc_rule(bad_metadata), r"unless { req.hdrs -m reg '^[\r\n -~]*$' }"),
        *without_ray_headers(),
        with_address(),
    )


def _gateways_get_messages(section: Section, directory: Path, body_s: float) -> None:
    section.begin(
        *(f"errorfile {status} {directory / grpc_error_file(status)}" for status in ERROR_STATUSES),
        f"http-request wait-for-body time {round(body_s * 1000)}ms at-least {_MESSAGE_HEADER_BYTES}",
        "http-request del-header application",  # it has chosen this backend, or is wrong: there is one application
    )
