"""The one error of this package."""


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names the tensor, the file and what is wrong."""
