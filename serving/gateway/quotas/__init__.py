"""Quotas: how much each tenant and each key may ask for, the same on every Gateway."""

from serving.gateway.quotas.quotas import Admission, ContextLimit, QuotaError, Quotas, quotas_for

__all__ = ["Admission", "ContextLimit", "QuotaError", "Quotas", "quotas_for"]
