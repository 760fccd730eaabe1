"""Selectors: which labels a Kubernetes label selector matches."""

from collections.abc import Mapping

from serving.cluster.connection import Object


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a selector with `matchLabels` and `matchExpressions` matches these labels."""
    wanted: dict[str, str] = selector.get("matchLabels") or {}
    return wanted.items() <= labels.items() and all(
        _holds(one, labels) for one in selector.get("matchExpressions") or []
    )


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:  # DoesNotExist
            return key not in labels
