"""KubeRay's operator, as far as a rollout sees it, and Ray Serve behind it; on a clock of their own."""

import copy
from datetime import UTC, datetime, timedelta

from tests.cluster import release
from tests.cluster.kubernetes_api import KubernetesApi

_KEY = "ray.io/v1/rayservices", "codegemma", release.RELEASE
_ROUND_S = 2.0
_DEPLOYING_S = 3.0
_START = datetime(2026, 1, 1, tzinfo=UTC)


class Operator:
    """Reconciles the RayService `codegemma` every two seconds, as time passes in `sleep`.

    As KubeRay's does: it first asks Ray Serve for the state of the applications, then submits a configuration that is
    new, and then reports the state it was told before. What it refuses, it reports without `observedGeneration`; a step
    that fails it reports as an event only.

    Attributes:
      outcome: what becomes of a configuration that is submitted, once Ray Serve has deployed it.
      refuses: why a manifest is not valid.
      fails: why a configuration cannot be submitted.
    """

    def __init__(self, api: KubernetesApi, **outcome: str) -> None:
        self.outcome = outcome or {"status": "RUNNING"}
        self.refuses: str | None = None
        self.fails: str | None = None
        self._api = api
        self._now, self._next = 0.0, 0.5
        self._config: str | None = None
        self._submitted_at = float("-inf")
        self._events = 0

    def clock(self) -> float:
        """Seconds."""
        return self._now

    def sleep(self, duration_s: float) -> None:
        """Lets time pass."""
        end = self._now + duration_s
        while self._next <= end:
            self._now = self._next
            self._reconcile()
            self._next += _ROUND_S
        self._now = end

    def _reconcile(self) -> None:
        service = copy.deepcopy(self._api.objects[_KEY].raw)
        status = service.setdefault("status", {})
        if self.refuses is not None:
            status["conditions"] = [release.condition("Ready", "False", "ValidationFailed", self.refuses)]
            self._api.objects[_KEY] = service
            return
        application = self._application()
        if self._config != service["spec"]["serveConfigV2"]:
            if self.fails is not None:
                self._warn(self.fails)
                return
            if self._config is not None:
                self._submitted_at = self._now
            self._config = service["spec"]["serveConfigV2"]
        status |= release.service()["status"]
        status["observedGeneration"] = service["metadata"]["generation"]
        status["activeServiceStatus"]["applicationStatuses"] = {"codegemma": application}
        self._api.objects[_KEY] = service

    def _application(self) -> dict[str, str]:
        if self._submitted_at == float("-inf"):  # what was there at first
            return {"status": "RUNNING"}
        return {"status": "DEPLOYING"} if self._now < self._submitted_at + _DEPLOYING_S else self.outcome

    def _warn(self, message: str) -> None:
        self._events += 1
        happened = (_START + timedelta(seconds=self._now)).isoformat()
        event = release.warning("RayService", release.RELEASE, message, self._events, lastTimestamp=happened)
        self._api.add("v1/events", event)
