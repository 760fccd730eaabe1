"""SecretKeys: a key file kept in a Secret of a cluster."""

import base64

from serving.access.keys import KeyFile
from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ClusterError, ConflictError
from serving.cluster.kinds import SECRETS


class SecretKeys:
    """Reads and replaces the keys of a Secret; Gateways see them a minute later, as the kubelet refreshes volumes."""

    def __init__(self, cluster: Cluster, name: str, entry: str) -> None:
        """`entry` names the file in the Secret `name`."""
        self._cluster = cluster
        self._path = SECRETS.path(cluster.namespace, name)
        self._name = name
        self._entry = entry
        self._found: Object | None = None

    def __str__(self) -> str:
        return f"secret {self._name} ({self._entry})"

    def read(self) -> KeyFile | None:
        """What the Secret holds; None if there is no such Secret, or no such file in it.

        Raises:
          KeyFileError: it holds something else.
          ClusterError: the cluster does not say.
        """
        self._found = self._cluster.find(self._path)
        encoded = ((self._found or {}).get("data") or {}).get(self._entry)
        if encoded is None:
            return None
        text = base64.b64decode(encoded).decode(errors="replace")
        return KeyFile.parse(text, self)

    def write(self, keys: KeyFile) -> None:
        """Replaces the keys that were read by these.

        Raises:
          ClusterError: somebody else changed the Secret meanwhile, or the cluster refuses.
        """
        metadata: Object = {"name": self._name, "namespace": self._cluster.namespace}
        if self._found is not None:
            metadata["resourceVersion"] = self._found["metadata"]["resourceVersion"]
        data = {self._entry: base64.b64encode(keys.dump().encode()).decode()}
        secret = {"apiVersion": SECRETS.api_version, "kind": "Secret", "metadata": metadata, "data": data}
        try:
            self._cluster.apply(self._path, secret, force=True)
        except ConflictError:
            raise ClusterError(
                f"secret '{self._name}' was changed by somebody else meanwhile, and nothing was written. Try again."
            ) from None
