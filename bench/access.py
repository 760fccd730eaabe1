"""What access and limits cost a request, in a Gateway's process: `python -m bench.access [--redis URL]`.

Prints p50 and p99 of each, in microseconds. A Redis is on this machine; one elsewhere adds its network's round trips.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
import uvloop
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from serving.access.config import IssuerConfig, QuotasConfig
from serving.access.keys import KeyFile
from serving.config import Role
from serving.gateway.access import BearerAccess
from serving.gateway.quotas import Quotas
from serving.gateway.quotas.ledger import Ledger
from serving.gateway.quotas.memory import MemoryLedger
from serving.gateway.quotas.redis import RedisLedger
from serving.gateway.request import CodeRequest, TextPrompt

ROUNDS = 3000
_PAUSE_S = 0.0005
"""Between two calls, for what a call leaves to be done after it, which no request waits for."""
_ISSUER = "https://login.example"
_KEYS: dict[str, tuple[Any, Any]] = {
    "RS256": (generate_rsa_key(65537, 2048), RSAAlgorithm),
    "ES256": (generate_private_key(SECP256R1()), ECAlgorithm),
    "EdDSA": (Ed25519PrivateKey.generate(), OKPAlgorithm),
}


async def measure(name: str, call: Callable[[], Awaitable[object]]) -> None:
    """Calls it `ROUNDS` times, one after the other, and prints how long each was waited for."""
    took: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await call()
        took.append((time.perf_counter() - began) * 1e6)
        await asyncio.sleep(_PAUSE_S)
    cuts = statistics.quantiles(took, n=100)
    print(f"{name:32} p50 {cuts[49]:7.0f} µs   p99 {cuts[98]:7.0f} µs")


async def measure_access(directory: Path) -> None:
    """An API key among 1000, and a token by each algorithm."""
    file = KeyFile()
    for number in range(999):
        file = KeyFile(keys=(*file.keys, file.with_new(f"key {number}", "", tuple(Role))[0].keys[-1]))
    file, key = file.with_new("mine", "platform", tuple(Role))
    file.write(directory / "keys.yaml")
    sets = [json.loads(kind.to_jwk(secret.public_key())) | {"kid": name} for name, (secret, kind) in _KEYS.items()]
    (directory / "jwks.json").write_text(json.dumps({"keys": sets}))
    issuer = IssuerConfig(issuer=_ISSUER, audience=("codegemma",), jwks_file=directory / "jwks.json")
    access = BearerAccess(directory / "keys.yaml", [issuer])
    await measure("API key", lambda: access.caller(f"Bearer {key}", "", ""))
    said = {"iss": _ISSUER, "aud": "codegemma", "sub": "ann", "exp": time.time() + 3600, "iat": time.time()}
    for name, (secret, _) in _KEYS.items():
        token = jwt.encode(said, secret, name, {"kid": name})
        await measure(f"token, {name}", lambda token=token: access.caller(f"Bearer {token}", "", ""))  # type: ignore[misc]


async def measure_quotas(name: str, ledger: Ledger) -> None:
    """A request that is admitted, reserves tokens and ends, of a key and a tenant with all limits."""
    most = {"requests_per_minute": 10**6, "tokens_per_minute": 10**9, "concurrent_requests": 1000}
    quotas = Quotas(QuotasConfig.model_validate({"per_key": most, "per_tenant": most}), ledger)
    request = CodeRequest(prompt=TextPrompt("a"), key="mine", tenant="platform")

    async def once() -> None:
        async with quotas.admitted(request) as admission:
            await admission.reserve(1000)
            admission.used = 500

    await measure(name, once)


async def main(redis: str | None) -> None:
    """Measures all of it."""
    with tempfile.TemporaryDirectory() as directory:
        await measure_access(Path(directory))
    await measure_quotas("limits in memory", MemoryLedger())
    if redis:
        ledger = RedisLedger(redis, lease_s=300)
        await measure_quotas("limits in Redis", ledger)
        await ledger.client.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis", metavar="URL", help="of a Redis to measure as well")
    asyncio.run(main(parser.parse_args().redis), loop_factory=uvloop.new_event_loop)  # a Gateway's
