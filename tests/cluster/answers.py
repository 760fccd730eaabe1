"""A cluster whose answers are in this process: for examinations by the thousand, which would take minutes."""

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from serving.cluster.connection import Cluster
from serving.cluster.kinds import group_path
from tests.cluster.kubernetes_api import KINDS


class Answers(Cluster):
    """Knows the kinds of `KINDS`, allows everything, and has the objects that it is given.

    Attributes:
      objects: by kind as in `KINDS`; all in the namespace `codegemma`, but for kinds without one.
    """

    def __init__(self, objects: Mapping[str, list[dict[str, Any]]]) -> None:
        client: Any = SimpleNamespace(configuration=SimpleNamespace(host="memory"))
        super().__init__(client, context="test", namespace="codegemma")
        self.objects = objects
        self._by_path: dict[str, Any] = {
            "/version": {"gitVersion": "v1.33.0"},
            "/api/v1/namespaces/codegemma": {"kind": "Namespace", "metadata": {"name": "codegemma"}},
        }
        for key, (kind, namespaced) in KINDS.items():
            version, _, plural = key.rpartition("/")
            known = self._by_path.setdefault(group_path(version), {"resources": []})
            known["resources"].append({"name": plural, "kind": kind, "namespaced": namespaced})
            collection = f"{group_path(version)}{'/namespaces/codegemma' if namespaced else ''}/{plural}"
            self._by_path[collection] = {"kind": f"{kind}List", "items": objects.get(key, [])}
            for one in objects.get(key, []):
                self._by_path[f"{collection}/{one['metadata']['name']}"] = {"kind": kind, **one}

    def _send(self, method: str, path: str, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("accept") == "*/*":  # logs and metrics
            return SimpleNamespace(status=200, data=b"")
        answer = {"status": {"allowed": True}} if method == "POST" else self._by_path.get(path)
        if answer is None and not kwargs.get("missing_is_fine"):
            answer = {"items": []}  # of all namespaces
        return SimpleNamespace(status=404 if answer is None else 200, data=json.dumps(answer).encode())
