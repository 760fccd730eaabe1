"""The environment that Ray Serve reads when it is imported, in every process of the cluster."""

import os
import sys
from importlib.metadata import version
from pathlib import Path
from pkgutil import resolve_name

from serving.config import GatewayConfig

FILES = Path(f"/tmp/codegemma-{os.getuid()}")
"""For this user's sockets, whose paths have to be short, and what goes with them."""


def haproxy_files(directory: Path) -> dict[str, str]:
    """Has Ray Serve keep HAProxy's configuration and sockets there, in a directory for each Ray node.

    Ray Serve has them in /tmp/haproxy-serve. The user who creates that directory first controls HAProxy.

    Args:
      directory: of 27 characters at most, for the path of a socket may have 97 and Ray's node ids have 56.
    """
    return {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(directory / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(directory / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(directory / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(directory),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(directory / "server-state"),
    }


_GUARDS = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"

RAY_ENVIRONMENT = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",  # one hop less for every request, and gRPC streams that can be cancelled
    "RAY_SERVE_HAPROXY_BINARY_PATH": str(Path(sys.executable).parent / "codegemma-haproxy"),  # see serving/haproxy/
    # How a proxy calls a Gateway where none is on its node, at half the cost of actor calls. From Gateways to groups
    # requests take our own links.
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    # Called in every proxy before it makes its servers, and in a Gateway before that for HTTP.
    _GUARDS: "serving.servers.guards.guards",
    # The largest message that the proxy takes when no Gateway is on its node: Ray Serve passes on no larger one. The
    # Gateways' follows gateway.max_body_bytes (gateway_environment).
    "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(4 * 1024 * 1024),
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # a machine busy compiling is slow to start a proxy, not broken
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",  # a lost proxy is seen within 3 s instead of 30
    "RAY_raylet_start_wait_time_s": "120",  # the same of Ray itself, and of its agents
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_worker_niceness": "0",  # Ray takes 15: a completion would wait for whatever else the machine does
    # A proxy whose Gateway is gone, or about to go, stays until load balancers have found out (28 s) and, where it was
    # the only one, another is there; Ray Serve takes 30.
    "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": "120",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",  # until every HAProxy has noticed; Ray Serve takes 30
    # A Gateway that is lost before it answered is not the client's business, if there is another.
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "330",  # when HAProxy reloads: longer than any stream takes by default
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",  # of a client that neither sends nor reads; Ray Serve takes 3600
    **haproxy_files(FILES),  # `codegemma-haproxy` refuses another user's
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""What `codegemma serve` and the tests set, unless it is set already."""

WITHOUT_HEAD = {
    "RAY_gcs_rpc_server_reconnect_timeout_s": "3600",
}
"""What every node but the head has as well, where the head's state outlives it: in Redis.

A process that has not reached the head for a minute ends itself, and with a node's raylet all that runs on the node.
KubeRay makes ten minutes of it. An hour is enough for a head whose pod waits for a machine. On the head itself it
stays a minute: if GCS is lost alone, the rest of the head ends, and its pod starts anew.
"""

ONE_MACHINE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_TMPDIR": str(FILES),
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_worker_oom_score_adjustment": "0",
}
"""What `codegemma serve` sets as well: all of Ray is on its machine, which others use too.

The first variable is Ray's own for laptops, whose firewalls ask about every program that listens. With 0 a node's
address is 127.0.0.1, and what Ray starts listens there, wherever the service itself does. The second keeps Ray's
sockets and logs from /tmp/ray, which Ray makes writable for all.

Ray's memory monitor would end our processes, which do not grow, until none is left, and again as they come back.
Without it the kernel ends one process, the largest, once nothing is free; Ray would mark ours to go before any other.
"""


def check_version() -> None:
    """Checks that Ray's environment, which a chart or a person sets, names code that is here.

    Ray Serve imports it in every proxy, and says of a name that is not there no more than Python does.

    Raises:
      ValueError: it is of another version of this service.
    """
    named = os.environ.get(_GUARDS)
    if named is None:
        return
    try:
        resolve_name(named)
    except (ImportError, AttributeError, ValueError):
        raise ValueError(
            f"{_GUARDS}={named} names nothing of codegemma-serving {version('codegemma-serving')}, which has "
            f"{RAY_ENVIRONMENT[_GUARDS]}: the Helm chart, or whatever set it, is of another version than this image. "
            "Take both from one commit; the image's is its label org.opencontainers.image.revision."
        ) from None


def gateway_environment(gateway: GatewayConfig) -> dict[str, str]:
    """What a Gateway's process has in its environment besides."""
    return {
        # Nothing in a Gateway blocks: it needs no thread beside Ray Serve's own, and requests no way between the two.
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
        "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(gateway.max_body_bytes),  # gRPC refuses what is larger unread
        "MALLOC_ARENA_MAX": "2",  # large bodies are read in threads, and each would keep memory of its own
        "GRPC_VERBOSITY": "NONE",  # or its C core writes a line whenever a client compresses
    }
