"""History: the manifests applied last, kept in a Secret of the cluster, so that one can go back to them."""

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ClusterError
from serving.cluster.kinds import SECRETS

KEPT = 5
"""Revisions; a Secret holds 1 MiB, and the manifests of a release take some 20 KiB compressed."""

_LABELS = {"app.kubernetes.io/managed-by": "codegemma"}


@dataclass(frozen=True, slots=True)
class Revision:
    """One application of manifests.

    Attributes:
      number: from 1 on.
      applied: when, in UTC, as ISO 8601.
    """

    number: int
    applied: str
    manifests: Sequence[Object]


def revisions(cluster: Cluster, release: str) -> list[Revision]:
    """The revisions that are kept, oldest first.

    Raises:
      ClusterError: the Secret's name is taken by something else.
    """
    secret = cluster.find(SECRETS.path(cluster.namespace, _name(release)))
    if secret is not None and not _LABELS.items() <= (secret["metadata"].get("labels") or {}).items():
        raise ClusterError(
            f"secret '{_name(release)}' in namespace '{cluster.namespace}' is of something else, but its name is where "
            "the manifests are kept. Rename it, or choose another --release."
        )
    data: dict[str, str] = (secret or {}).get("data") or {}
    return sorted((_decode(key, value) for key, value in data.items()), key=lambda revision: revision.number)


def record(cluster: Cluster, release: str, manifests: Sequence[Object]) -> int:
    """Keeps manifests as the newest revision, unless they are that already. Returns its number."""
    kept = revisions(cluster, release)
    if kept and kept[-1].manifests == manifests:
        return kept[-1].number
    now = datetime.now(UTC).isoformat(timespec="seconds")
    newest = Revision(kept[-1].number + 1 if kept else 1, now, manifests)
    secret = {
        "apiVersion": SECRETS.api_version,
        "kind": "Secret",
        "metadata": {
            "name": _name(release),
            "namespace": cluster.namespace,
            "labels": _LABELS,
        },
        "data": dict(_encode(revision) for revision in [*kept, newest][-KEPT:]),
    }
    cluster.apply(SECRETS.path(cluster.namespace, _name(release)), secret)
    return newest.number


def _name(release: str) -> str:
    return f"{release}-applied"


def _encode(revision: Revision) -> tuple[str, str]:
    content = json.dumps({"applied": revision.applied, "manifests": revision.manifests}).encode()
    return str(revision.number), base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _decode(key: str, value: str) -> Revision:
    content = json.loads(gzip.decompress(base64.b64decode(value)))
    return Revision(int(key), content["applied"], content["manifests"])
