"""What a compiled step costs on one chip, added up over the instructions that run."""

import re
from collections import Counter
from dataclasses import dataclass, field

from compiled.execution import executed
from compiled.hlo import HOST, Instruction, Module
from compiled.traffic import bytes_moved

LARGE_BYTES = 10**6
"""Copies of fewer bytes cost nothing that shows."""

_COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
_PREFETCHES = ("copy", "slice")
_MOVES = frozenset(["copy", "reshape", "transpose", "convert", "bitcast-convert", "slice", "pad", "concatenate"])
_MOVES_IN_FUSIONS = _MOVES | frozenset(["parameter", "constant", "bitcast", "tuple", "broadcast"])
_VMEM_USED = re.compile(r'"used_scoped_memory_configs":\[\{"memory_space":"1","offset":"(\d+)","size":"(\d+)"')


@dataclass
class Costs:
    """Of one step.

    Attributes:
      traffic: bytes between chip and HBM, but for what kernels read of the KV cache and write to it.
      copies: that move at least `LARGE_BYTES` through HBM, by what they make: how many.
      collectives: by opcode: how many.
      asynchronous: how many of these run beside other work.
      collective_bytes: of their largest results.
      kernels: by name: how many.
      kernel_vmem: by name: bytes of VMEM that one takes.
      waiting: kernels and synchronous collectives, during which weights can come to VMEM in the background.
      covered: of these, how many have at least `LARGE_BYTES` on their way.
      host: arrays in the host's memory.
      cycles: what the compiler expects, without kernels and collectives.
    """

    traffic: int = 0
    copies: Counter[str] = field(default_factory=Counter)
    collectives: Counter[str] = field(default_factory=Counter)
    asynchronous: int = 0
    collective_bytes: int = 0
    kernels: Counter[str] = field(default_factory=Counter)
    kernel_vmem: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    covered: int = 0
    host: int = 0
    cycles: int = 0


def costs(module: Module, cache_bytes: int, scope: str | None = None) -> Costs:
    """Adds up a program.

    Args:
      module: the program.
      cache_bytes: of a layer's KV cache on one chip.
      scope: whose branches run: see `executed`.
    """
    total = Costs()
    for computation, times in executed(module, scope):
        total.traffic += times * sum(bytes_moved(module, computation, each, cache_bytes) for each in computation)
        coming: dict[str, int] = {}  # bytes on their way to or from VMEM, by the instruction that started them
        for each in computation:
            kind, _, phase = each.opcode.rpartition("-")
            if kind in _PREFETCHES and phase == "start":
                coming[each.name] = min(array.size for array in each.results[:2])
            elif kind in _PREFETCHES and phase == "done":
                coming.pop(each.operands[0], None)
            _add(total, each, times)
            if _only_moves(module, each) and bytes_moved(module, computation, each, cache_bytes) >= LARGE_BYTES:
                total.copies[f"{each.opcode} {', '.join(map(str, each.results))} <- {each.source}"] += times
            if each.is_kernel or each.opcode in _COLLECTIVES:
                total.waiting += times
                total.covered += times * (sum(coming.values()) >= LARGE_BYTES)
    return total


def _add(total: Costs, each: Instruction, times: int) -> None:
    total.cycles += times * each.cycles
    total.host += times * sum(array.memory == HOST for array in each.results)
    kind = each.opcode.removesuffix("-start")
    if kind in _COLLECTIVES:
        total.collectives[kind] += times
        total.asynchronous += times * (kind != each.opcode)
        total.collective_bytes += times * max(array.size for array in each.results)
    if each.is_kernel:
        name = each.name.rpartition(".")[0] or each.name
        used = _VMEM_USED.search(each.attributes)
        total.kernels[name] += times
        total.kernel_vmem[name] = int(used[2]) - int(used[1]) if used else 0  # below the offset it is not the kernel's


def _only_moves(module: Module, each: Instruction) -> bool:
    """Whether an instruction changes nothing but layout, dtype or place."""
    if each.opcode == "fusion":
        return all(inner.opcode in _MOVES_IN_FUSIONS for inner in module.computations[each.called[0]])
    if each.opcode == "copy-start":  # from one memory to another it is a prefetch
        return each.results[0].memory == each.results[1].memory
    return each.opcode in _MOVES
