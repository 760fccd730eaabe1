"""Reading what the compiler prints."""

import pytest

from compiled.hlo import HBM, VMEM, Array, Module
from tests.compiled.programs import BRANCHES, COUNTING_LOOP, KERNEL, KNOWN_LOOP, UNKNOWN_LOOP


def test_arrays_have_dtype_shape_memory_and_size() -> None:
    module = Module.parse(KERNEL)
    start = module.computations["main"].by_name["start"]
    assert start.results[:2] == (Array("bf16", (2048, 512), VMEM), Array("bf16", (2048, 512), HBM))
    assert start.results[0].size == 2048 * 512 * 2
    assert str(start.results[0]) == "bf16[2048,512]"
    assert [Array("s4", (4,)).size, Array("pred", (4,)).size, Array("f32", ()).size] == [2, 4, 4]


def test_attributes_with_line_breaks_belong_to_their_instruction() -> None:
    kernel = Module.parse(KERNEL).computations["main"].by_name["attention.3"]
    assert kernel.is_kernel
    assert kernel.operands == ("q", "cache")
    assert "used_scoped_memory_configs" in kernel.attributes


def test_instructions_are_in_their_order_and_the_last_is_the_root() -> None:
    main = Module.parse(KERNEL).computations["main"]
    assert [each.name for each in main][:3] == ["cache", "weight", "q"]
    assert [each.name for each in main if each.is_root] == ["copied"]
    assert main.by_name["weight"].index == 1
    assert main.by_name["copied"].source == "jit(step)/reshape"
    assert [each.name for each in main.users("out")] == ["reduced"]


def test_loops_fusions_and_conditionals_name_what_they_run() -> None:
    loop = Module.parse(KNOWN_LOOP)
    assert loop.entry == "main"
    assert loop.computations["main"].by_name["loop"].called == ("body",)
    assert loop.computations["body"].by_name["row"].called == ("fused",)
    assert loop.computations["body"].by_name["row"].cycles == 150
    assert Module.parse(BRANCHES).computations["main"].by_name["chosen"].called == ("small", "large")


@pytest.mark.parametrize(("text", "times"), [(KNOWN_LOOP, 5), (COUNTING_LOOP, 5), (UNKNOWN_LOOP, 1)])
def test_a_loop_runs_as_often_as_it_or_its_condition_says(text: str, times: int) -> None:
    module = Module.parse(text)
    assert module.trip_count(module.computations["main"].by_name["loop"]) == times


def test_text_without_a_program_is_refused() -> None:
    with pytest.raises(ValueError, match="no computation is marked as ENTRY"):
        Module.parse("HloModule nothing\n")
