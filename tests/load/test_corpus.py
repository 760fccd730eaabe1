"""The code that the load types: enough of it in every file."""

import random

from serving.load.corpus import MIN_LINES, some_source, source_files


def test_every_file_has_room_for_a_cursor() -> None:
    assert len(source_files()) > 50
    assert all(len(path.read_text(errors="replace").splitlines()) >= MIN_LINES for path in source_files())


def test_equal_seeds_give_equal_code() -> None:
    assert some_source(random.Random(1)) == some_source(random.Random(1))
