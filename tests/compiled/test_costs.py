"""What programs cost: bytes, copies, collectives, overlap."""

import pytest

from compiled.costs import costs
from compiled.hlo import Module
from compiled.traffic import bytes_moved
from tests.compiled.programs import BRANCHES, CACHE_BYTES, COUNTING_LOOP, KERNEL, KNOWN_LOOP, UNKNOWN_LOOP

WEIGHT_BYTES = 2048 * 512 * 2
Q_BYTES = 8 * 512 * 2


def moved(text: str, computation: str, name: str) -> int:
    module = Module.parse(text)
    body = module.computations[computation]
    return bytes_moved(module, body, body.by_name[name], CACHE_BYTES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cache", 0),
        ("start", WEIGHT_BYTES),  # read from HBM, written to VMEM
        ("prefetched", 0),
        ("attention.3", 2 * Q_BYTES),  # without the cache
        ("reduced", Q_BYTES),
        ("product", 0),  # all of it in VMEM
        ("copied", 2 * CACHE_BYTES),
    ],
)
def test_what_lies_in_vmem_is_free_and_all_else_is_read_and_written(name: str, expected: int) -> None:
    assert moved(KERNEL, "main", name) == expected


def test_a_fusion_that_slices_reads_the_slice_only() -> None:
    assert moved(KNOWN_LOOP, "body", "row") == 512 * 2


def test_loops_count_as_often_as_they_are_known_to_run() -> None:
    once, five, counted = (costs(Module.parse(text), 0) for text in (UNKNOWN_LOOP, KNOWN_LOOP, COUNTING_LOOP))
    assert five.traffic == counted.traffic == 5 * once.traffic == 5 * (1024 + 2 * 8192)
    assert (once.cycles, five.cycles) == (200, 1000)


def test_of_a_conditional_the_first_branch_counts_or_the_one_that_holds_a_scope() -> None:
    assert costs(Module.parse(BRANCHES), 0).traffic == 2 * 512
    assert costs(Module.parse(BRANCHES), 0, "another").traffic == 2 * 512
    assert costs(Module.parse(BRANCHES), 0, "top_p").traffic == 2 * 2 * 512


def test_a_conditional_within_a_scope_is_not_steered_by_it() -> None:
    within = BRANCHES.replace('op_name="jit(step)/cond"', 'op_name="jit(step)/top_p/cond"')
    assert costs(Module.parse(within), 0, "top_p").traffic == 2 * 512


def test_copies_collectives_kernels_and_overlap_are_counted() -> None:
    found = costs(Module.parse(KERNEL), CACHE_BYTES)
    assert dict(found.copies) == {"copy bf16[1000,2,512] <- jit(step)/reshape": 1}
    assert (dict(found.collectives), found.asynchronous, found.collective_bytes) == ({"all-reduce": 1}, 0, Q_BYTES)
    assert (dict(found.kernels), found.kernel_vmem) == ({"attention": 1}, {"attention": 2048})
    assert (found.waiting, found.covered) == (2, 1)  # a weight comes while the kernel runs, none while all-reduce does
    assert found.host == 0


def test_copies_within_vmem_are_no_copies() -> None:
    in_vmem = KERNEL.replace(
        "%copied = bf16[1000,2,512]{1,2,0:T(8,128)(2,1)}", "%copied = bf16[1000,2,512]{1,2,0:S(1)}"
    )
    in_vmem = in_vmem.replace("%new = bf16[1000,2,512]{2,1,0:T(2,128)(2,1)}", "%new = bf16[1000,2,512]{2,1,0:S(1)}")
    assert costs(Module.parse(in_vmem), CACHE_BYTES).copies.total() == 0


def test_copies_within_loops_count_once_for_each_iteration() -> None:
    large = KNOWN_LOOP.replace("[8,512]", "[8192,512]").replace("negate(%x)", "copy(%x)")
    assert costs(Module.parse(large), 0).copies.total() == 5


def test_arrays_in_the_hosts_memory_are_counted() -> None:
    on_host = BRANCHES.replace("ROOT %n.3 = f32[128]{0:T(128)}", "ROOT %n.3 = f32[128]{0:T(128)S(5)}")
    assert costs(Module.parse(on_host), 0, "top_p").host == 1
