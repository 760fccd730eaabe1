"""How XLA's compilers are used: options where their defaults are not the best for steps, and how many run at once."""

import os

from sharding.quantization import Quantization

type Options = dict[str, str | bool]

_TPU: Options = {
    # VMEM for each operation between kernels, 16 MiB by default. With more, products read weights in larger pieces; but
    # it is then missing for weights that come in the background. What the v5e's compiler expects with 16, 24, 28 and
    # 32 MiB: 2B, 8 rows: 8.78, 8.05, 7.95, 7.93 ms; 7B on eight chips, 16 rows: 2.32, 2.22, 2.19, 2.95 ms.
    "xla_tpu_scoped_vmem_limit_kib": "28672",
}
_TPU_QUANTISED: Options = {
    # No weight comes to VMEM before the program begins, to stay there until it is used. Quantised, the head of 7B on
    # eight chips fits, 98 MB of 128, and activations go through HBM instead: with int8, prefill of 1024 tokens moves
    # 7.44 GB on each of eight chips and 8.16 on each of four; without such a weight 3.50 and 6.89. In bfloat16 it is a
    # small one, and four chips move 9.11 GB with it and 10.34 without.
    "xla_max_cross_program_prefetches": "0",
}
_GPU: Options = {
    # A decode step as one CUDA graph, with its loop and the sampler's branches. Without the last two, the host decides
    # on each round and branch, and so a launch waits for the whole step.
    "xla_gpu_enable_command_buffer": (
        "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,CONDITIONAL,WHILE"
    ),
    # A graph cannot call the library's sort.
    "xla_gpu_enable_cub_radix_sort": False,
}


def compiler_options(platform: str, quantization: Quantization | None) -> Options:
    """Returns the options for a JAX platform and a model's weights, as `jax.stages.Lowered.compile` takes them."""
    match platform:
        case "tpu":
            return _TPU if quantization is None else _TPU | _TPU_QUANTISED
        case "gpu":
            return _GPU
        case _:
            return {}


def programs_at_once() -> int:
    """How many programs to compile at once.

    XLA compiles one with about two threads. On two processors two programs at once take as long as one after the other,
    and 27% more of the processors.
    """
    return max(1, (os.cpu_count() or 1) // 2)
