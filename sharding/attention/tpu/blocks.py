"""How the kernels divide their work: blocks of queries and keys that lie in VMEM, and how much of that they may take.

There is one kernel for rows with one token and one for rows with several, which a decode step does without.
"""

from typing import NamedTuple

_MIB = 1 << 20
_DECODE_KV_BYTES = 4 * _MIB
"""Keys and values in one block of decoding rows: enough to hide the latency of HBM, and three buffers fit the limit."""
_MOST_ROWS, _FEWEST_KEYS, _MOST_KEYS = 8, 256, 512
_MOST_PAGES = 128
"""In one block: the places of the pages are in SMEM, for at least 128 blocks at once."""


class Blocks(NamedTuple):
    """What a kernel has in VMEM at once, as `tokamax`'s `BlockSizes`.

    Attributes:
      queries: of a row.
      queries_at_once: of these, how many are multiplied with the keys at once.
      keys: of a row.
      rows: worked on together.
      buffers: so many blocks are in VMEM, most of them on their way there.
    """

    queries: int
    queries_at_once: int
    keys: int
    rows: int
    buffers: int


class StepBlocks(NamedTuple):
    """The blocks of one shape of step.

    Attributes:
      decode: of rows with one token.
      several: of rows with several tokens.
      vmem_limit_bytes: what a kernel may take, the rest being for weights on their way; None: all of VMEM.
    """

    decode: Blocks
    several: Blocks
    vmem_limit_bytes: int | None


_SEVERAL = Blocks(queries=128, queries_at_once=64, keys=512, rows=2, buffers=3)
"""tokamax's own choice."""
_VMEM_BYTES = 32 * _MIB
"""What kernels may take of 128 MiB."""
_LARGE_QUERIES_BYTES = 2 * _MIB
"""With more, a step's activations need VMEM more than weights do: CodeGemma 2B's at 1024 tokens moves 10% more else."""


def step_blocks(query_bytes: int, kv_bytes: int, page_size: int) -> StepBlocks:
    """Chooses the blocks of a step.

    Args:
      query_bytes: of all queries in one layer, on this device.
      kv_bytes: of one token in one layer, on this device.
      page_size: tokens in a page.
    """
    keys = _DECODE_KV_BYTES // (_MOST_ROWS * kv_bytes)
    keys = min(max(keys, _FEWEST_KEYS), _MOST_KEYS, _MOST_PAGES * page_size // _MOST_ROWS)
    rows = min(max(_DECODE_KV_BYTES // (keys * kv_bytes), 1), _MOST_ROWS)
    return StepBlocks(
        decode=Blocks(queries=1, queries_at_once=1, keys=keys, rows=rows, buffers=3),
        several=_SEVERAL,
        vmem_limit_bytes=_VMEM_BYTES if query_bytes <= _LARGE_QUERIES_BYTES else None,
    )
