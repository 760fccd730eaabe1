"""Errors of requests to the cluster, with messages for the user."""


class ClusterError(Exception):
    """A request to the cluster failed or cannot be made; the message names the cause and the remedy."""


class SilentError(ClusterError):
    """No answer came in time."""


class ForbiddenError(ClusterError):
    """The user lacks a right; the message names verb and resource."""


class ConflictError(ClusterError):
    """A field belongs to another field manager, or the object has changed since it was read."""
