"""A Kubernetes API in memory, as far as `codegemma cluster` uses it: kmock, and what kmock does not emulate."""

import asyncio
import copy
import json
from collections.abc import Mapping
from typing import Any

import aiohttp.web
import kmock

KINDS = {
    "v1/configmaps": ("ConfigMap", True),
    "v1/events": ("Event", True),
    "v1/limitranges": ("LimitRange", True),
    "v1/namespaces": ("Namespace", False),
    "v1/nodes": ("Node", False),
    "v1/persistentvolumeclaims": ("PersistentVolumeClaim", True),
    "v1/pods": ("Pod", True),
    "v1/resourcequotas": ("ResourceQuota", True),
    "v1/secrets": ("Secret", True),
    "v1/serviceaccounts": ("ServiceAccount", True),
    "v1/services": ("Service", True),
    "apiextensions.k8s.io/v1/customresourcedefinitions": ("CustomResourceDefinition", False),
    "networking.k8s.io/v1/networkpolicies": ("NetworkPolicy", True),
    "policy/v1/poddisruptionbudgets": ("PodDisruptionBudget", True),
    "ray.io/v1/rayclusters": ("RayCluster", True),
    "ray.io/v1/rayservices": ("RayService", True),
    "scheduling.k8s.io/v1/priorityclasses": ("PriorityClass", False),
    "storage.k8s.io/v1/storageclasses": ("StorageClass", False),
}
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_NAMESPACES = "/api/v1/namespaces/"


class KubernetesApi(kmock.KubernetesEmulator):
    """An API server.

    kmock has no server-side apply, access reviews, selectors of labels and fields, or failures in the API's own words:
    here they are.

    Attributes:
      namespaces: those that exist, with their labels and annotations.
      forbidden: methods and beginnings of paths that answer 403, such as `GET /api/v1/nodes`.
      silent: paths that get no answer.
      denied: `verb resource` that access reviews deny.
      invalid: why a manifest is refused, by path of the object.
      owners: fields, such as `spec.replicas`, that another manager set, by path of the object.
      applied: the queries of all server-side applies, by path of the object.
    """

    def __init__(self) -> None:
        super().__init__()
        self.namespaces: dict[str, dict[str, Any]] = {"codegemma": {}, "kube-system": {}}
        self.forbidden: set[str] = set()
        self.silent: set[str] = set()
        self.denied: set[str] = set()
        self.invalid: dict[str, str] = {}
        self.owners: dict[str, dict[str, str]] = {}
        self.applied: dict[str, list[Mapping[str, str]]] = {}
        self._version = 0
        self._last_applied: dict[str, Any] = {}
        for key, (kind, namespaced) in KINDS.items():
            self.resources[key] = kmock.ResourceInfo(kind=kind, namespaced=namespaced, verbs={"get", "list", "patch"})

    def add(self, key: str, one: Mapping[str, Any]) -> None:
        """Adds an object; `key` is one of KINDS."""
        kind, namespaced = KINDS[key]
        metadata = {"generation": 1, "resourceVersion": self._next(), **one["metadata"]}
        if namespaced:
            metadata.setdefault("namespace", "codegemma")
        version = key.rpartition("/")[0]
        full = {"apiVersion": version, "kind": kind, **one, "metadata": metadata}
        self.objects[key, metadata.get("namespace"), metadata["name"]] = full

    async def _handle(self, request: Any) -> aiohttp.web.StreamResponse:
        path, method = request.url.path, request.method.value
        if any(f"{method} {path}".startswith(one) for one in self.forbidden):
            message = f'{path.rpartition("/")[2]} is forbidden: User "ada" cannot {method.lower()} it'
            return _failure(403, "Forbidden", message)
        if path in self.silent:
            await asyncio.Event().wait()  # until the client has gone
        if path == _REVIEWS:
            asked = request.data["spec"]["resourceAttributes"]
            name = "/".join(part for part in (asked["resource"], asked.get("subresource")) if part)
            allowed = f"{asked['verb']} {name}" not in self.denied
            return aiohttp.web.json_response(request.data | {"status": {"allowed": allowed}}, status=201)
        if path.startswith(_NAMESPACES) and "/" not in (name := path.removeprefix(_NAMESPACES)):
            if name not in self.namespaces:
                return _failure(404, "NotFound", f'namespaces "{name}" not found')
            return aiohttp.web.json_response({"kind": "Namespace", "metadata": {"name": name} | self.namespaces[name]})
        if request.headers.get("Content-Type") == "application/apply-patch+yaml":
            return self._apply(request, path)
        return await super()._handle(request)

    async def _render_error(self, exc: Exception) -> aiohttp.web.StreamResponse:
        if isinstance(exc, kmock.KubernetesNotFoundError):
            return _failure(404, "NotFound", "the server could not find the requested resource")
        return await super()._render_error(exc)

    async def _serve_list(self, request: Any) -> Any:
        answer: Any = await super()._serve_list(request)
        labels, fields = (_wanted(request.params.get(key, "")) for key in ("labelSelector", "fieldSelector"))
        answer["items"] = [
            one
            for one in answer["items"]
            if labels.items() <= (one["metadata"].get("labels") or {}).items()
            and all(_at(one, field) == value for field, value in fields.items())
        ]
        return answer

    def _apply(self, request: Any, path: str) -> aiohttp.web.Response:
        if path in self.invalid:
            return _failure(422, "Invalid", self.invalid[path])
        body = json.loads(request.body)
        key = (request.resource, request.namespace, request.name)
        there = key in self.objects and not self.objects[key].deleted
        before = copy.deepcopy(self.objects[key].raw) if there else {"metadata": {"generation": 0}}
        expected = body["metadata"].pop("resourceVersion", None)
        if expected not in (None, before["metadata"].get("resourceVersion")):
            return _failure(
                409, "Conflict", "the object has been modified; please apply your changes to the latest version"
            )
        for field, manager in self.owners.get(path, {}).items():
            if request.params["force"] != "true" and _at(body, field) not in (None, _at(before, field)):
                return _failure(409, "Conflict", f'Apply failed with 1 conflict: conflict with "{manager}": .{field}')
        self.applied.setdefault(path, []).append(request.params)
        after = _merged(_without(before, self._last_applied.get(path, {})), body)
        if after.get("spec") != before.get("spec"):
            after["metadata"]["generation"] = before["metadata"]["generation"] + 1
        if "dryRun" not in request.params:
            self._last_applied[path] = body
            if after != before:
                after["metadata"]["resourceVersion"] = self._next()
            after["metadata"]["managedFields"] = [{"manager": request.params["fieldManager"], "operation": "Apply"}]
            self.objects[key] = after
        return aiohttp.web.json_response(after, status=200 if there else 201)

    def _next(self) -> str:
        self._version += 1
        return str(self._version)


def _wanted(selector: str) -> dict[str, str]:
    return dict(one.split("=") for one in selector.split(",") if one)


def _failure(status: int, reason: str, message: str) -> aiohttp.web.Response:
    body = {"kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": message}
    return aiohttp.web.json_response(body, status=status)


def _at(one: Any, field: str) -> Any:
    for part in field.split("."):
        one = one.get(part) if isinstance(one, Mapping) else None
    return one


def _merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return copy.deepcopy(new)
    return {key: _merged(old.get(key), new[key]) if key in new else old[key] for key in [*old, *(new.keys() - old)]}


def _without(old: dict[str, Any], applied: Mapping[str, Any]) -> dict[str, Any]:
    """What is left without the fields applied before: those that a manifest no longer has must go."""
    left = {}
    for key, value in old.items():
        if key not in applied:
            left[key] = value
        elif isinstance(value, dict) and isinstance(applied[key], Mapping):
            left[key] = _without(value, applied[key])
    return left
