"""Delays: when Ray Serve follows its policy."""

_ROUNDING_S = 1e-6


class Delays:
    """Follows a wish once it has pointed the same way for the delay of that way, like Ray Serve around any policy.

    For simulations; `ray.serve.autoscaling_policy._apply_delay_logic` is what it is tested against.
    """

    def __init__(self, *, upscale_s: float, downscale_s: float) -> None:
        self._delay_s = {1: upscale_s, -1: downscale_s}
        self._direction = 0
        self._since = 0.0

    def follow(self, wish: int, *, target: int, now: float) -> int:
        """The target from now on. From more than one replica it never goes to zero at once."""
        direction = (wish > target) - (wish < target)
        if direction != self._direction:
            self._direction, self._since = direction, now
        if direction == 0 or now - self._since + _ROUNDING_S < self._delay_s[direction]:
            return target
        self._direction = 0
        return max(1, wish) if target > 1 else wish
