"""History: the manifests applied last, kept in a Secret of the cluster, so that one can go back to them."""

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
      complete: all of it was applied; the cluster may have refused an object, or the command was interrupted.
    """

    number: int
    applied: str
    manifests: Sequence[Object]
    complete: bool = True

    def __str__(self) -> str:
        return f"{self.number} ({self.applied}{'' if self.complete else ', applied in part'})"


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


def before_newest(kept: Sequence[Revision]) -> Revision | None:
    """The revision to go back to: the last that was applied whole, and whose manifests are not what is there now.

    Args:
      kept: oldest first.
    """
    now = kept[-1].manifests if kept and kept[-1].complete else None
    return next((one for one in reversed(kept[:-1]) if one.complete and one.manifests != now), None)


def begin(cluster: Cluster, release: str, manifests: Sequence[Object]) -> Revision:
    """Keeps manifests that are about to be applied as the newest revision, unless they are that already.

    Of the attempts before it, those that did not end well are forgotten: they are nothing to go back to.
    """
    kept = revisions(cluster, release)
    if kept and kept[-1].manifests == manifests:
        return kept[-1]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    newest = Revision(kept[-1].number + 1 if kept else 1, now, manifests, complete=False)
    _keep(cluster, release, [*(one for one in kept if one.complete), newest])
    return newest


def finish(cluster: Cluster, release: str, revision: Revision) -> None:
    """Notes that all of the newest revision was applied."""
    if not revision.complete:
        _keep(cluster, release, [*revisions(cluster, release)[:-1], replace(revision, complete=True)])


def _keep(cluster: Cluster, release: str, kept: Sequence[Revision]) -> None:
    secret = {
        "apiVersion": SECRETS.api_version,
        "kind": "Secret",
        "metadata": {
            "name": _name(release),
            "namespace": cluster.namespace,
            "labels": _LABELS,
        },
        "data": dict(_encode(revision) for revision in kept[-KEPT:]),
    }
    cluster.apply(SECRETS.path(cluster.namespace, _name(release)), secret)


def _name(release: str) -> str:
    return f"{release}-applied"


def _encode(revision: Revision) -> tuple[str, str]:
    fields = {"applied": revision.applied, "manifests": revision.manifests, "complete": revision.complete}
    content = json.dumps(fields).encode()
    return str(revision.number), base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _decode(key: str, value: str) -> Revision:
    content = json.loads(gzip.decompress(base64.b64decode(value)))
    return Revision(int(key), content["applied"], content["manifests"], content.get("complete", True))
