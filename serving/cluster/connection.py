"""Cluster: the API of one Kubernetes cluster; every failure of it becomes a ClusterError with a remedy."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.cluster.errors import ClusterError, ConflictError, ForbiddenError, SilentError
from serving.cluster.fields import with_fields
from serving.cluster.kinds import Kind, group_path
from serving.cluster.login import LoginProgram

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

FIELD_MANAGER = "codegemma"
"""Who owns the fields that `codegemma cluster` sets."""
_CONNECT_S = 5.0
_ANSWER_S = 30.0
_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_PATCH = "application/json-patch+json"

type Object = dict[str, Any]
"""A Kubernetes object, or another answer of the API, as JSON."""


class Cluster:
    """The API of one cluster, as one user.

    Attributes:
      context: the context of the kubeconfig, for messages.
      namespace: where the release is.
    """

    def __init__(self, client: "ApiClient", *, context: str, namespace: str) -> None:
        self.context = context
        self.namespace = namespace
        self._client = client
        self._served: dict[str, dict[str, tuple[Kind, bool]]] = {}

    @property
    def host(self) -> str:
        """The URL of the API server."""
        return str(self._client.configuration.host)

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    def get(self, path: str, **query: str) -> Object:
        """An answer of the API."""
        return self._object(self._send("GET", path, query))

    def find(self, path: str) -> Object | None:
        """An object, or None where there is none."""
        response = self._send("GET", path, {}, missing_is_fine=True)
        return None if response.status == 404 else self._object(response)

    def items(self, path: str, **query: str) -> list[Object]:
        """The objects of a collection; none where the cluster does not know the kind."""
        response = self._send("GET", path, query, missing_is_fine=True)
        if response.status == 404:
            return []
        answer = self._object(response)
        kind = str(answer.get("kind") or "object").removesuffix("List")  # which items need not say of themselves
        return [with_fields(one, kind) for one in answer["items"]]

    def served(self, api_version: str) -> dict[str, tuple[Kind, bool]]:
        """The kinds of an API version, by name, each with whether it lies in namespaces; none where it is unknown."""
        if api_version not in self._served:
            response = self._send("GET", group_path(api_version), {}, missing_is_fine=True)
            resources = [] if response.status == 404 else self._object(response)["resources"]
            self._served[api_version] = {
                resource["kind"]: (Kind(api_version, resource["name"]), bool(resource["namespaced"]))
                for resource in resources
                if "/" not in resource["name"]  # those are subresources
            }
        return self._served[api_version]

    def create(self, path: str, body: Object) -> Object:
        """Adds an object to a collection."""
        return self._object(self._send("POST", path, {}, body))

    def apply(self, path: str, body: Object, *, force: bool = False, dry_run: bool = False) -> Object:
        """Server-side apply: creates the object, or sets exactly the fields that `body` has.

        Raises:
          ConflictError: another manager owns one of the fields, and `force` is not given.
        """
        query = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
        query |= {"dryRun": "All"} if dry_run else {}
        return self._object(self._send("PATCH", path, query, json.dumps(body), content_type=_APPLY))

    def patch(self, path: str, operations: Sequence[Object]) -> Object:
        """Changes parts of an object: a JSON Patch (RFC 6902), all of it or nothing."""
        query = {"fieldManager": FIELD_MANAGER}
        return self._object(self._send("PATCH", path, query, list(operations), content_type=_PATCH))

    def text(self, path: str, within_s: float | None = None, /, **query: str) -> str:
        """An answer that is no JSON: logs, metrics.

        Raises:
          SilentError: it does not come within this time.
        """
        response = self._send("GET", path, query, accept="*/*", within_s=within_s)
        return str(response.data.decode(errors="replace"))

    def lines(self, path: str, **query: str) -> Iterator[str]:
        """An answer that goes on, line by line, until the server ends it."""
        from urllib3.exceptions import HTTPError

        response = self._send("GET", path, query, accept="*/*", streamed=True).response
        rest = b""
        try:
            for part in response.stream(amt=None, decode_content=True):
                *complete, rest = (rest + part).split(b"\n")
                yield from (line.decode(errors="replace") for line in complete)
            if rest:
                yield rest.decode(errors="replace")
        except HTTPError as error:
            raise self._unreachable(error) from None
        finally:
            response.close()

    def _send(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        body: Object | list[Object] | str | None = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        missing_is_fine: bool = False,
        streamed: bool = False,
        within_s: float | None = None,
    ) -> Any:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        headers = {"Accept": accept, "Content-Type": content_type}
        within_s = _ANSWER_S if within_s is None else within_s
        try:
            request = self._client.param_serialize(
                method, path, None, list(query.items()), headers, body, auth_settings=["BearerToken"]
            )
            response: Any = self._client.call_api(
                *request, _request_timeout=(_CONNECT_S, None if streamed else within_s)
            )
            if not (streamed and response.status < 300):
                response.read()
        except (HTTPError, ApiException) as error:
            raise self._unreachable(error, within_s) from None
        if response.status < 300 or (missing_is_fine and response.status == 404):
            return response
        raise self._refusal(method, path, response.status, _message(response.data))

    def _object(self, response: Any) -> Object:
        try:
            answer = json.loads(response.data)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ClusterError(
                f"context '{self.context}': {self.host} answers, but not as a Kubernetes API. Is it the right server?"
            )
        return with_fields(answer, "the cluster's answer")

    def _unreachable(self, error: Exception, within_s: float = _ANSWER_S) -> ClusterError:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ReadTimeoutError

        where = f"the API server of context '{self.context}' at {self.host}"
        match error:
            case ConnectTimeoutError() if not isinstance(error, NewConnectionError):  # that one was refused
                text = f"cannot be reached within {_CONNECT_S:g} s. Is a VPN or a firewall rule missing?"
            case ReadTimeoutError():
                text = f"did not answer within {within_s:g} s. Try again, or ask who runs the cluster."
                return SilentError(f"{where} {text}")
            case ApiException(reason=reason):  # what the client makes of a failed TLS handshake
                text = f"has a certificate that is not trusted: {reason}. Renew the context's credentials."
            case _:
                text = f"cannot be reached: {error}. Is the cluster running, and is it the right context?"
        return ClusterError(f"{where} {text}")

    def _refusal(self, method: str, path: str, status: int, message: str) -> ClusterError:
        asked = f"{method} {path}"
        match status:
            case 401:
                return ClusterError(
                    f"context '{self.context}': the cluster does not accept these credentials. Log in again "
                    "(on GKE: gcloud container clusters get-credentials), then try once more."
                )
            case 403:
                return ForbiddenError(
                    f"no right to {asked} in context '{self.context}': {message}. Ask for a role with it; "
                    "`codegemma cluster doctor` lists all rights that are missing."
                )
            case 404:
                return ClusterError(f"{asked}: not found in context '{self.context}': {message}.")
            case 409:
                return ConflictError(message)
            case 422:
                return ClusterError(f"the cluster refuses {asked} as invalid: {message}")
            case _:
                return ClusterError(f"the cluster answered {asked} with status {status}: {message}")


def connect(context: str | None, namespace: str | None) -> Cluster:
    """A client for a context of the kubeconfig; in a pod without one, for the pod's own cluster.

    Args:
      context: by default the current one.
      namespace: by default that of the context.

    Raises:
      ClusterError: there is no client, no kubeconfig, no such context, or its credentials cannot be had.
    """
    try:
        from kubernetes import client, config
    except ImportError:
        raise ClusterError(
            "the Kubernetes client is not installed. Install it: pip install 'codegemma-serving[cluster]'"
        ) from None
    configuration = client.Configuration()
    configuration.retries = False
    try:
        if context is None and _in_pod():
            config.load_incluster_config(client_configuration=configuration)
            own = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text()
            return Cluster(client.ApiClient(configuration), context="in-cluster", namespace=namespace or own)
        files = os.environ.get("KUBECONFIG") or "~/.kube/config"
        chosen = _context(context, files)
        program = _login_program(chosen, files)
        if program is not None:
            program.check_installed()
        with program.reported() if program is not None else nullcontext():
            config.load_kube_config(files, context=chosen["name"], client_configuration=configuration)
    except config.ConfigException as error:
        raise ClusterError(f"the kubeconfig cannot be used: {error}. Check KUBECONFIG, or log in again.") from None
    namespace = namespace or chosen["context"].get("namespace") or "default"
    return Cluster(client.ApiClient(configuration), context=chosen["name"], namespace=namespace)


def _in_pod() -> bool:
    given = os.environ.get("KUBECONFIG") or Path("~/.kube/config").expanduser().exists()
    return "KUBERNETES_SERVICE_HOST" in os.environ and not given


def _context(wanted: str | None, files: str) -> Object:
    import yaml
    from kubernetes import config

    if not _paths(files):
        raise ClusterError(
            f"there is no kubeconfig at {files}. Set KUBECONFIG, or let your cloud write one "
            "(on GKE: gcloud container clusters get-credentials)."
        )
    try:
        contexts, current = config.list_kube_config_contexts(files)
    except yaml.YAMLError as error:
        raise ClusterError(f"kubeconfig {files} is not valid YAML: {error}") from None
    by_name: dict[str, Object] = {one["name"]: one for one in contexts}
    if wanted is None:
        return dict(current)
    if wanted not in by_name:
        raise ClusterError(f"--context '{wanted}' is not in {files}. There are: {', '.join(sorted(by_name))}.")
    return dict(by_name[wanted])


def _login_program(context: Object, files: str) -> LoginProgram | None:
    """The credential plugin of a context's user; None for users with a token or a certificate."""
    import yaml

    user = context["context"].get("user")
    for path in _paths(files):  # of several with one name, the first counts
        for one in (yaml.safe_load(path.read_text()) or {}).get("users") or []:
            if one.get("name") == user:
                entry = (one.get("user") or {}).get("exec")
                return None if entry is None else LoginProgram(str(context["name"]), entry, path.parent)
    return None


def _paths(files: str) -> list[Path]:
    """The kubeconfigs of a value of KUBECONFIG that exist; entries may be empty."""
    paths = [Path(file).expanduser() for file in files.split(os.pathsep) if file]
    return [path for path in paths if path.exists()]


def _message(body: bytes) -> str:
    """What a `Status` object says; otherwise the beginning of the answer."""
    try:
        return str(json.loads(body)["message"]).rstrip(".")
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace") or "no reason given"
