"""LoRA adapters: what is on disk, and what lies on devices beside a model's weights."""

from sharding.adapters.adapter import Adapter, AdapterError

__all__ = ["Adapter", "AdapterError"]
