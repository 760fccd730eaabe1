"""References: the secrets and volume claims that an installation names, and whether they are there."""

from collections.abc import Iterator, Sequence

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ForbiddenError
from serving.cluster.findings import Finding, ok, problem, warning
from serving.cluster.kinds import CLAIMS, SECRETS, STORAGE_CLASSES
from serving.cluster.needs import claims_of, secrets_of


def examine_secrets(cluster: Cluster, objects: Sequence[Object]) -> Iterator[Finding]:
    """Whether the secrets that objects refer to are there or among them, with the keys asked for."""
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


def examine_claims(cluster: Cluster, objects: Sequence[Object]) -> Iterator[Finding]:
    """Whether the volume claims that objects refer to, or that are among them, are bound or can be."""
    own = {one["metadata"]["name"]: one for one in objects if one["kind"] == "PersistentVolumeClaim"}
    for name in sorted(claims_of(objects) | own.keys()):
        try:
            yield _claim(cluster, name, own.get(name))
        except ForbiddenError as error:
            yield warning(f"volume claim {name}", f"not examined: {error}", "Make sure that it is there and bound.")


def _claim(cluster: Cluster, name: str, own: Object | None) -> Finding:
    subject = f"volume claim {name}"
    claim = cluster.find(CLAIMS.path(cluster.namespace, name)) or own
    if claim is None:
        text = f"does not exist in namespace {cluster.namespace}"
        return problem(subject, text, "Create it, with the models on it, or name another in the values.")
    return ok(subject, "is bound") if _phase(claim) == "Bound" else _unbound(cluster, subject, claim)


def _phase(claim: Object) -> str:
    return str((claim.get("status") or {}).get("phase", "not created yet"))


def _unbound(cluster: Cluster, subject: str, claim: Object) -> Finding:
    wanted = claim["spec"].get("storageClassName")
    there = {one["metadata"]["name"] for one in cluster.items(STORAGE_CLASSES.path())}
    if wanted and wanted not in there:
        text = f"is {_phase(claim)}: there is no storage class {wanted!r}"
        return problem(subject, text, f"Use one of: {', '.join(sorted(there)) or 'none; ask who runs the cluster'}.")
    text = f"is {_phase(claim)}, of {f'storage class {wanted}' if wanted else 'the default storage class'}"
    name = claim["metadata"]["name"]
    return warning(subject, text, f"If it stays so: kubectl describe pvc -n {cluster.namespace} {name}")
