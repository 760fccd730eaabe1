"""How a client's channel behaves: retries, limits, keepalive, and who calls."""

import json
from collections.abc import Callable, Sequence
from typing import Any

type ApiKey = str | Callable[[], str]
"""Sent as bearer token. A function is called for each call: for tokens that expire."""

_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{}],  # every method
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    # No retries into an outage: each failure costs a token, each success gives a tenth back, below half none retry.
    "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.1},
}
"""https://github.com/grpc/proposal/blob/master/A6-client-retries.md: gRPC itself retries, before anything has come."""

_MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""What a server takes by default."""

_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.per_rpc_retry_buffer_size", _MAX_REQUEST_BYTES),  # a larger request is not retried; the default is 256 KiB
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),  # log probabilities
    # A call on a connection that is dead without a word ends within these, not at its deadline.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


def channel_options(more: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The options of a channel; `more` override."""
    return list((dict(_OPTIONS) | dict(more)).items())


def call_metadata(api_key: ApiKey) -> list[tuple[str, str]]:
    """Says who calls; nothing without a key."""
    key = api_key if isinstance(api_key, str) else api_key()
    return [("authorization", f"Bearer {key}")] if key else []
