"""The committed figures, and the page that shows them."""

from pathlib import Path

import pytest

from compiled import table
from compiled.shipped import shipped
from compiled.steps import steps_of


def test_the_table_has_every_step_of_every_shipped_configuration() -> None:
    steps = ((each.name, step) for each in shipped("tpu-v5e") for step in steps_of(each))
    assert {table.key(name, step, None) for name, step in steps} <= table.read().keys()


def test_no_configuration_has_more_than_eight_steps() -> None:
    assert all(len(steps_of(each)) <= 8 for each in shipped("tpu-v5e"))


def test_decode_moves_at_most_2_percent_more_than_it_must_and_copies_nothing() -> None:
    decode = {name: each for name, each in table.read().items() if "decode" in name and "all layers" in name}
    assert decode
    assert [name for name, each in decode.items() if each.ratio > 1.02 or each.copies or each.not_aliased] == []


def test_the_page_shows_the_committed_figures() -> None:
    assert table.shown() == table.markdown(table.read())


def test_figures_are_written_to_the_table_and_to_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- compiled/tpu-v5e.json -->\nold\n<!-- end -->\nafter\n")
    table.write(table.read(), tmp_path / "table.json", page)
    assert table.read(tmp_path / "table.json") == table.read()
    assert table.shown(page) == table.markdown(table.read())
    assert page.read_text().startswith("before\n") and page.read_text().endswith("<!-- end -->\nafter\n")


def test_a_page_without_a_place_for_the_table_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    with pytest.raises(ValueError, match="lacks <!-- compiled"):
        table.shown(page)


def test_both_ways_to_divide_eight_chips_over_hosts_are_compiled() -> None:
    topologies = {
        (each.model.id, each.model.topology.hosts, each.model.topology.chips_per_host) for each in shipped("tpu-v5e")
    }
    assert {
        ("codegemma-2b", 1, 1),
        ("codegemma-7b-it", 1, 4),
        ("codegemma-7b-it", 1, 8),
        ("codegemma-7b-it", 2, 4),
    } == (topologies)
