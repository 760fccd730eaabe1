"""The part of the Kubernetes API that Ray's autoscaler asks: its RayCluster, and the pods of it."""

import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import trustme
from aiohttp import web

from tests.helm.chart import Object
from tests.pods.node.network import HOST
from tests.pods.node.pod import Pod

PORT = 443
_CLUSTERS = "/apis/ray.io/v1/namespaces/{namespace}/rayclusters/{name}"
_PODS = "/api/v1/namespaces/{namespace}/pods"


class ApiServer:
    """An API server for pods, by HTTPS.

    Attributes:
      certificate: of its authority, in PEM.
      token: that it wants.
    """

    def __init__(self, token: str, clusters: Callable[[], Iterable[Object]], pods: Callable[[], Iterable[Pod]]) -> None:
        """For these clusters and pods, as they are when somebody asks."""
        authority = trustme.CA()
        self.certificate = authority.cert_pem.bytes().decode()
        self.token = token
        self._clusters, self._pods = clusters, pods
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(HOST, "kubernetes.default").configure_cert(self._context)

    @asynccontextmanager
    async def serves(self) -> AsyncIterator[None]:
        """Listens for as long as this lasts."""
        app = web.Application(middlewares=[self._authorize])
        app.add_routes(
            [web.get(_CLUSTERS, self._get_cluster), web.patch(_CLUSTERS, self._patch), web.get(_PODS, self._list_pods)]
        )
        app.router.add_get(f"{_PODS}/{{name}}", self._get_pod)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, HOST, PORT, ssl_context=self._context).start()
        try:
            yield
        finally:
            await runner.cleanup()

    @web.middleware
    async def _authorize(self, request: web.Request, handler: Callable[[web.Request], object]) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            raise web.HTTPUnauthorized
        answer: web.StreamResponse = await handler(request)  # type: ignore[misc]
        return answer

    def _cluster(self, request: web.Request) -> Object:
        for cluster in self._clusters():
            if cluster["metadata"]["name"] == request.match_info["name"]:
                return cluster
        raise web.HTTPNotFound

    async def _get_cluster(self, request: web.Request) -> web.Response:
        return web.json_response(self._cluster(request))

    async def _patch(self, request: web.Request) -> web.Response:
        cluster = self._cluster(request)
        for operation in await request.json():
            replace(cluster, operation)
        return web.json_response(cluster)

    async def _list_pods(self, request: web.Request) -> web.Response:
        label, _, value = request.query["labelSelector"].partition("=")
        found = [pod.status() for pod in self._pods() if pod.labels.get(label) == value]
        return web.json_response({"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": found})

    async def _get_pod(self, request: web.Request) -> web.Response:
        for pod in self._pods():
            if pod.name == request.match_info["name"]:
                status = pod.status()
                return web.json_response({**status, "metadata": {**status["metadata"], "resourceVersion": "1"}})
        raise web.HTTPNotFound


def replace(document: Object, operation: Object) -> None:
    """Applies an operation of a JSON patch to a document.

    Raises:
      NotImplementedError: it is none that Ray's autoscaler uses to scale.
    """
    if operation["op"] != "replace":
        raise NotImplementedError(f"JSON patch {operation}")
    *path, last = operation["path"].strip("/").split("/")
    place = document
    for part in path:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[last] = operation["value"]
