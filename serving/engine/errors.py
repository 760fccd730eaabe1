"""Why an engine refuses a request that another replica, or a later moment, may take."""


class PromptTooLong(ValueError):  # noqa: N818 - what is wrong with the request, like QueueFull
    """The context has no room for the prompt and one token."""


class QueueFull(Exception):  # noqa: N818 - like asyncio.QueueFull
    """All rows and all places in the queue are taken."""


class EngineUnavailable(Exception):  # noqa: N818 - a state of the replica, like QueueFull
    """The engine failed or is stopping; this replica takes no more requests."""


class DeadlineUnreachable(Exception):  # noqa: N818 - a state of the queue, like QueueFull
    """The first token would come after the deadline of the request."""


class AdapterNotFound(Exception):  # noqa: N818 - what the request asks for, like PromptTooLong
    """There is no adapter of the name."""


class AdapterUnusable(Exception):  # noqa: N818 - a state of what the request asks for, like AdapterNotFound
    """An adapter is damaged or is none of this model; the message is for clients."""


class AdapterNotEverywhere(AdapterUnusable):
    """The hosts of a group do not have the same adapter of a name; a moment later they may."""
