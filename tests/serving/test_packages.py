"""What is installed beside the service: Ray starts many processes, and each pays for what it imports."""

from importlib.util import find_spec


def test_nothing_that_is_slow_is_imported_with_ray() -> None:
    """Ray imports jsonschema, and that rfc3987_syntax if it is there, which takes 2.6 s to build a grammar.

    With it, Ray's own processes were too slow for Ray at times. `jsonschema[format]` brings it.
    """
    assert find_spec("rfc3987_syntax") is None
