"""Attention on TPUs: tokamax's Mosaic kernel over the paged cache in the layout that is native to it."""

from sharding.attention.tpu.attention import TokamaxAttention

__all__ = ["TokamaxAttention"]
