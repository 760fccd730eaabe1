"""Types of the fields of manifests, as the models of the `kubernetes` client have them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from serving.cluster.errors import ClusterError

_LIST = re.compile(r"List\[(.+)\]")
_DICT = re.compile(r"Dict\[str, (.+)\]")
_PLACE = re.compile(r"\[[^]]*\]")
_QUANTITY = "quantity"
_QUANTITIES = {"limits", "requests", "hard", "capacity", "overhead", "default", "defaultRequest", "min", "max"}
"""Mappings to quantities, which the models call texts and may be numbers as well."""
_NUMBER_OR_NAME = "number or name"
_NUMBERS_OR_NAMES = {"port", "targetPort", "minAvailable", "maxUnavailable", "maxSurge"}
"""Fields that the models call objects."""
_SCALARS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a text", lambda value: isinstance(value, str)),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "float": ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    _NUMBER_OR_NAME: (
        "a whole number or a text",
        lambda value: isinstance(value, int | str) and not isinstance(value, bool),
    ),
    _QUANTITY: ("a quantity, such as 2, 500m or 8Gi", lambda value: _is_quantity(value)),
}

type _Type = str | Mapping[str, _Type] | list[_Type]
"""A name of the models, fields with a type each, or a list of one type."""

_GROUP: _Type = {
    "groupName": "str",
    "replicas": "int",
    "minReplicas": "int",
    "maxReplicas": "int",
    "numOfHosts": "int",
    "rayStartParams": "Dict[str, str]",
    "template": "V1PodTemplateSpec",
}
_AUTOSCALER: _Type = {
    "image": "str",
    "imagePullPolicy": "str",
    "idleTimeoutSeconds": "int",
    "resources": "V1ResourceRequirements",
    "env": "List[V1EnvVar]",
    "envFrom": "List[V1EnvFromSource]",
    "volumeMounts": "List[V1VolumeMount]",
    "securityContext": "V1SecurityContext",
}
_RAY_SERVICE: _Type = {
    "metadata": "V1ObjectMeta",
    "spec": {
        "serveConfigV2": "str",
        "rayClusterConfig": {
            "rayVersion": "str",
            "enableInTreeAutoscaling": "bool",
            "autoscalerOptions": _AUTOSCALER,
            "headGroupSpec": _GROUP,
            "workerGroupSpecs": [_GROUP],
        },
    },
}


def check_types(file: str, one: Mapping[str, Any]) -> None:
    """Looks that the values of an object have the types that its kind's fields have. Fields that are not known pass.

    Raises:
      ClusterError: one has not; the message names the file, the object, the field and its value.
    """
    kind, name = one["kind"], one["metadata"]["name"]
    _check(one, _type_of(one["apiVersion"], kind), "", f"{file}: {kind} {name}", kind)


def _type_of(api_version: str, kind: str) -> _Type:
    from kubernetes.client import models

    group, _, version = api_version.rpartition("/")
    if (group, kind) == ("ray.io", "RayService"):
        return _RAY_SERVICE
    is_kubernetes_own = "." not in group or group.endswith(".k8s.io")
    model = f"{version.capitalize()}{kind}"
    return model if is_kubernetes_own and hasattr(models, model) else {"metadata": "V1ObjectMeta"}


def _check(value: Any, wanted: _Type, path: str, whose: str, kind: str) -> None:
    def refuse(belongs: str) -> ClusterError:
        field = f"{kind.lower()}.{_PLACE.sub('', path)}".rstrip(".")
        return ClusterError(
            f"{whose}: {path or 'it'} is {str(value)[:100]!r}, where {belongs} belongs. `kubectl explain {field}` says "
            "what it is."
        )

    if value is None:
        return  # to Kubernetes the same as no field
    if isinstance(wanted, str) and wanted in _SCALARS:
        belongs, holds = _SCALARS[wanted]
        if not holds(value):
            raise refuse(belongs)
    elif items := _items_of(wanted):
        if not isinstance(value, list):
            raise refuse("a list")
        for index, each in enumerate(value):
            _check(each, items, f"{path}[{index}]", whose, kind)
    elif fields := _fields_of(wanted, value, path):
        if not isinstance(value, Mapping):
            raise refuse("a mapping")
        has_own_names = isinstance(wanted, str) and _DICT.fullmatch(wanted)
        for name, type_ in fields.items():
            place = f"{path}[{name!r}]" if has_own_names else f"{path}.{name}" if path else name
            _check(value.get(name), type_, place, whose, kind)


def _items_of(wanted: _Type) -> _Type | None:
    match = _LIST.fullmatch(wanted) if isinstance(wanted, str) else None
    return match[1] if match else wanted[0] if isinstance(wanted, list) else None


def _fields_of(wanted: _Type, value: Any, path: str) -> Mapping[str, _Type]:
    """The fields of a mapping; none, if it may be anything."""
    from kubernetes.client import models

    if isinstance(wanted, Mapping):
        return wanted
    assert isinstance(wanted, str)
    if match := _DICT.fullmatch(wanted):
        each = _QUANTITY if path.rpartition(".")[2] in _QUANTITIES else match[1]
        return dict.fromkeys(value, each) if isinstance(value, Mapping) and value else {"": each}
    model = getattr(models, wanted, None)
    if model is None:
        return {}
    types: Mapping[str, str] = model.openapi_types
    return {name: _exact(name, types[own]) for own, name in model.attribute_map.items()}


def _exact(name: str, type_: str) -> str:
    """The type of a field, where the models are too wide."""
    if name == "sizeLimit":
        return _QUANTITY
    return _NUMBER_OR_NAME if type_ == "object" and name in _NUMBERS_OR_NAMES else type_


def _is_quantity(value: Any) -> bool:
    from kubernetes.utils.quantity import parse_quantity

    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    try:
        parse_quantity(value)
    except ValueError:
        return False
    return True
