"""Options of XLA's compilers where their defaults are not the best for steps."""

_TPU: dict[str, str | bool] = {
    # VMEM for each operation between kernels, 16 MiB by default. With more, products read weights in larger pieces; but
    # it is then missing for weights that come in the background. What the v5e's compiler expects with 16, 24, 28 and
    # 32 MiB: 2B, 8 rows: 8.78, 8.05, 7.95, 7.93 ms; 7B on eight chips, 16 rows: 2.32, 2.22, 2.19, 2.95 ms.
    "xla_tpu_scoped_vmem_limit_kib": "28672",
}
_GPU: dict[str, str | bool] = {
    # A decode step as one CUDA graph, with its loop and the sampler's branches. Without these two, the host decides on
    # each round and branch, and so a launch waits for the whole step.
    "xla_gpu_enable_command_buffer": (
        "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,CONDITIONAL,WHILE"
    ),
    # A graph cannot call the library's sort.
    "xla_gpu_enable_cub_radix_sort": False,
}
_BY_PLATFORM: dict[str, dict[str, str | bool]] = {"tpu": _TPU, "gpu": _GPU}


def compiler_options(platform: str) -> dict[str, str | bool]:
    """Returns the options for a JAX platform, as `jax.stages.Lowered.compile` takes them."""
    return _BY_PLATFORM.get(platform, {})
