"""References: whether the secrets that an installation names exist."""

from collections.abc import Iterator, Sequence

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ForbiddenError
from serving.cluster.findings import Finding, ok, problem, warning
from serving.cluster.kinds import SECRETS
from serving.cluster.needs import secrets_of


def examine_secrets(cluster: Cluster, objects: Sequence[Object]) -> Iterator[Finding]:
    """Whether the secrets that objects refer to exist or are among them, with the keys referred to."""
    own = {one["metadata"]["name"]: one for one in objects if one["kind"] == "Secret"}
    for name, key in sorted(secrets_of(objects), key=str):
        try:
            secret = own.get(name) or cluster.find(SECRETS.path(cluster.namespace, name))
        except ForbiddenError as error:
            yield warning(f"secret {name}", f"not examined: {error}", "Make sure that it is there.")
        else:
            yield _secret(name, key, secret, cluster.namespace)


def _secret(name: str, key: str | None, secret: Object | None, namespace: str) -> Finding:
    subject = f"secret {name}"
    if secret is None:
        create = f"kubectl create secret generic {name} -n {namespace} --from-file={key or 'KEY'}=FILE"
        return problem(subject, f"does not exist in namespace {namespace}", f"Create it: {create}")
    keys = {*(secret.get("data") or {}), *(secret.get("stringData") or {})}
    if key is not None and key not in keys:
        there = ", ".join(sorted(keys)) or "none"
        return problem(subject, f"has no key {key!r}; its keys: {there}", "Add the key, or name the right one.")
    return ok(subject, f"is there{f', with key {key!r}' if key else ''}")
