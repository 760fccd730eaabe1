"""The filter is what the kernel's documentation says, on both machines."""

import errno
import struct

import pytest

from serving.evaluation.seccomp import UnknownMachineError, seccomp_filter

_X86_64, _AARCH64, _I386 = 0xC000003E, 0xC00000B7, 0x40000003
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.ENOSYS


def verdict(machine: str, architecture: int, number: int, flags: int = 0) -> int:
    """Runs the filter as the kernel does, on a call whose fourth argument is `flags`."""
    program = list(struct.iter_unpack("=HBBI", seccomp_filter(machine)))
    data = struct.pack("<IIQ6Q", number, architecture, 0, 0, 0, 0, flags, 0, 0)
    value, at = 0, 0
    while True:
        code, then, otherwise, operand = program[at]
        at += 1
        match code:
            case 0x20:
                value = struct.unpack_from("<I", data, operand)[0]
            case 0x54:
                value &= operand
            case 0x15:
                at += then if value == operand else otherwise
            case 0x35:
                at += then if value >= operand else otherwise
            case 0x06:
                return int(operand)
            case _:
                raise AssertionError(code)


@pytest.mark.parametrize(
    ("machine", "architecture", "refused", "mmap"),
    [
        ("x86_64", _X86_64, [319, 447, 29, 68, 64, 278, 425, 321, 41, 46, 307, 54], 9),
        ("aarch64", _AARCH64, [279, 447, 194, 186, 190, 75, 425, 280, 198, 211, 269, 208], 222),
    ],
)
def test_it_refuses_these_calls_and_shared_mappings_without_a_file_and_no_others(
    machine: str, architecture: int, refused: list[int], mmap: int
) -> None:
    numbers = range(500)
    assert [number for number in numbers if verdict(machine, architecture, number) != _ALLOW] == sorted(refused)
    assert {verdict(machine, architecture, number) for number in refused} == {_REFUSE}
    private, shared, validated, anonymous = 2, 1, 3, 0x20
    assert verdict(machine, architecture, mmap, shared | anonymous) == _REFUSE
    assert verdict(machine, architecture, mmap, validated | anonymous) == _REFUSE
    assert verdict(machine, architecture, mmap, private | anonymous) == _ALLOW
    assert verdict(machine, architecture, mmap, shared) == _ALLOW
    assert verdict(machine, _I386, 20) == _REFUSE
    assert verdict(machine, architecture, 0x40000000) == _REFUSE


def test_a_machine_whose_calls_are_not_known_is_said() -> None:
    with pytest.raises(UnknownMachineError, match="x86_64 and aarch64, not on riscv64"):
        seccomp_filter("riscv64")
