"""The bytes that one instruction moves between the chip and its HBM.

XLA's own count (`cost_analysis()["bytes accessed"]`) takes whole operands of kernels and counts what lies in VMEM. Here
an array in VMEM is free, a slice costs what it holds, and what is written in place costs what is new. A gather is
counted by its result. What kernels read of the KV cache depends on lengths, which no program holds.
"""

from compiled.hlo import HBM, Computation, Instruction, Module

_FREE = frozenset(
    [
        "parameter",
        "constant",
        "iota",
        "bitcast",
        "get-tuple-element",
        "tuple",
        "partition-id",
        "replica-id",
        "after-all",
        "optimization-barrier",
        "copy-done",
        "slice-done",
        "all-reduce-done",
        "all-gather-done",
        "collective-permute-done",
        "async-done",
        "async-update",
        "while",
        "conditional",
        "call",
    ]
)
_SLICES = ("slice", "dynamic-slice", "gather")
_SAME = ("bitcast", "copy", "reshape", "convert")


def bytes_moved(module: Module, computation: Computation, instruction: Instruction, cache_bytes: int) -> int:
    """Returns the bytes that an instruction reads from HBM and writes to it, without those of computations it calls.

    Args:
      module: the program.
      computation: of the instruction.
      instruction: one of a computation that is run, not of a fusion's.
      cache_bytes: of a layer's KV cache: kernels' operands of this size are left out.
    """
    if instruction.opcode in _FREE or 'custom_call_target="ConcatBitcast"' in instruction.attributes:
        return 0
    if instruction.opcode in ("copy-start", "slice-start"):  # results: (to, from, semaphore), in either order
        pair = instruction.results[:2]
        return min(array.size for array in pair) * sum(array.memory == HBM for array in pair)
    if instruction.is_kernel:
        return _kernel(computation, instruction, cache_bytes)
    written = _in_hbm(instruction)
    body = module.computations[instruction.called[0]] if instruction.opcode == "fusion" else None
    read = 0
    for index, operand in enumerate(computation.operands(instruction)):
        whole = _in_hbm(operand)
        if body is not None:
            whole = min(whole, _read(body, index, whole))
        elif instruction.opcode in _SLICES and index == 0:
            whole = min(whole, instruction.size)
        read += whole
    return read + (written if body is None else min(written, _written(body, written)))


def _in_hbm(instruction: Instruction) -> int:
    return sum(array.size for array in instruction.results if array.memory == HBM)


def _kernel(computation: Computation, kernel: Instruction, cache_bytes: int) -> int:
    arrays = [array for each in (*computation.operands(kernel), kernel) for array in each.results]
    return sum(a.size for a in arrays if a.memory == HBM and a.dtype != "s32" and a.size != cache_bytes)


def _read(body: Computation, index: int, whole: int) -> int:
    """What a fusion reads of its operand number `index`: slices of it, or the whole."""
    parameter = next(each for each in body if each.index == index)
    total, names = 0, [parameter.name]
    while names:
        name = names.pop()
        for user in body.users(name):
            if user.opcode in _SAME:
                names.append(user.name)
            elif user.opcode in _SLICES and user.operands[0] == name:
                total += user.size
            elif user.opcode == "dynamic-update-slice" and user.operands[0] == name:
                continue  # in place
            else:
                return whole
    return total


def _written(body: Computation, whole: int) -> int:
    updates = [each for each in body if each.opcode == "dynamic-update-slice"]
    return sum(body.by_name[each.operands[1]].size for each in updates) if updates else whole
