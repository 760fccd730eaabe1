"""Whether the service answers, asked as a load balancer would: over both protocols, where clients come in."""

import grpc
import httpx
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from serving.supervision.watch import ServiceHealth

_TIMEOUT_S = 5.0
"""A machine that is busy is slow to answer, not out of service."""
_EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_GRPC_OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
"""A connection of its own each time: one that is kept waits ever longer before it tries again."""


class Probe:
    """ServiceHealth checks of a service on this machine."""

    def __init__(self, http_address: tuple[str, int], grpc_address: tuple[str, int]) -> None:
        self._url = f"http://{_authority(http_address)}/health"
        self._grpc_target = _authority(grpc_address)
        self._http_client = httpx.Client(
            timeout=_TIMEOUT_S, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )

    def health(self) -> ServiceHealth:
        """What both protocols say now; takes a few seconds at most."""
        http, grpc_failure = self._http(), self._grpc()
        failures = (*http.failures, grpc_failure) if grpc_failure else http.failures
        return ServiceHealth(failures, http.unavailable)

    def _http(self) -> ServiceHealth:
        try:
            answer = self._http_client.get(self._url)
            body = answer.json()
            if answer.is_success:
                return ServiceHealth(unavailable=tuple(body.get("unavailable", ())))
            return ServiceHealth((f"HTTP: {body['error']['message'].split('. ')[0]}",))
        except httpx.TimeoutException:
            return ServiceHealth((f"HTTP: no answer within {_TIMEOUT_S:.0f} s",))
        except httpx.HTTPError:
            return ServiceHealth(("HTTP: no connection",))
        except (ValueError, TypeError, KeyError, AttributeError):  # Ray Serve's own proxy, while there is no Gateway
            return ServiceHealth((f"HTTP: status {answer.status_code}, not from a Gateway",))

    def _grpc(self) -> str | None:
        with grpc.insecure_channel(self._grpc_target, options=_GRPC_OPTIONS) as channel:
            try:
                check = HealthStub(channel).Check  # type: ignore[attr-defined] # the type stubs know no methods of it
                answer = check(HealthCheckRequest(), timeout=_TIMEOUT_S)
            except grpc.RpcError as error:
                return f"gRPC: {error.code().name}"
        return None if answer.status == HealthCheckResponse.SERVING else "gRPC: not serving"


def _authority(address: tuple[str, int]) -> str:
    host, port = address
    host = _EVERY_INTERFACE.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
