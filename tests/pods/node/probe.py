"""Probes of a container, as the kubelet asks them."""

import asyncio
import time

import httpx

from tests.helm.chart import Object
from tests.pods.node.container import Container


class ProbeError(Exception):
    """A container that its startup or liveness probe gave up."""


async def why_not(probe: Object, container: Container, ip: str) -> str | None:
    """Asks once: what is wrong, or None."""
    timeout_s = probe.get("timeoutSeconds", 1)
    match probe:
        case {"httpGet": {"path": path, "port": port}}:
            async with httpx.AsyncClient(timeout=timeout_s, verify=False) as client:
                try:
                    answer = await client.get(f"http://{ip}:{port}{path}")
                except httpx.HTTPError as error:
                    return f"{path}: {error!r}"
            return None if answer.is_success else f"{path}: HTTP {answer.status_code}"
        case {"exec": {"command": command}}:
            try:
                async with asyncio.timeout(timeout_s):
                    status, output = await container.execute(command)
            except TimeoutError:
                return f"{command}: no answer within {timeout_s} s"
            return None if status == 0 else output.strip()
    raise NotImplementedError(f"Probe {probe}")


async def passed(probe: Object, container: Container, ip: str) -> None:
    """Returns when a startup probe passes.

    Raises:
      ProbeError: it failed too often.
    """
    for _ in range(probe.get("failureThreshold", 3)):
        started = time.monotonic()
        wrong = await why_not(probe, container, ip)
        if wrong is None:
            return
        if not container.runs:
            raise ProbeError(f"{container.name} ended before it had started")
        await asyncio.sleep(max(0.0, probe["periodSeconds"] - (time.monotonic() - started)))
    raise ProbeError(f"{container.name} did not start: {wrong}")
