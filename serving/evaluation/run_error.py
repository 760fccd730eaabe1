"""RunError: what is wrong with a run's directory."""


class RunError(Exception):
    """The directory cannot be used; the message says why and what to do."""
