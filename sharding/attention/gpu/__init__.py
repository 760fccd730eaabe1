"""Attention on GPUs: Pallas kernels for Triton that write to the paged cache and read from it."""

from sharding.attention.gpu.attention import TritonAttention

__all__ = ["TritonAttention"]
