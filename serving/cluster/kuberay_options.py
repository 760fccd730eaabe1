"""Fields of a RayCluster that are new in some version of KubeRay. An older CRD drops them silently."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from serving.cluster.connection import Object

type Version = tuple[int, int, int]


@dataclass(frozen=True)
class KubeRayOption:
    """One of them.

    Attributes:
      path: from `rayClusterConfig` on.
      effect: what it does, in words.
      since: the first KubeRay that has it.
      gate: the operator's feature gate that it needs, if it needs one.
    """

    path: tuple[str, ...]
    effect: str
    since: Version
    gate: str | None = None

    @property
    def name(self) -> str:
        """The path as it is written."""
        return ".".join(self.path)


TOKEN_AUTHENTICATION = KubeRayOption(("authOptions",), "Ray's token authentication", (1, 5, 1))
_OPTIONS = (
    KubeRayOption(
        ("gcsFaultToleranceOptions", "storage"),
        "the state of Ray's head in RocksDB",
        (1, 7, 0),
        "GCSFaultToleranceEmbeddedStorage",
    ),
    KubeRayOption(("tlsOptions",), "TLS between Ray's processes", (1, 7, 0), "RayClusterMTLS"),
)


def options_of(objects: Iterable[Object]) -> tuple[KubeRayOption, ...]:
    """The options that the RayServices among these set; always token authentication, which none should lack."""
    clusters = [one["spec"]["rayClusterConfig"] for one in objects if one["kind"] == "RayService"]
    asked = (option for option in _OPTIONS if any(_value(one, option.path) is not None for one in clusters))
    return (TOKEN_AUTHENTICATION, *asked)


def has_option(definition: Object, option: KubeRayOption) -> bool:
    """Whether the CRD of RayServices, in any of its versions, has it."""
    fields = ("spec", "rayClusterConfig", *option.path)
    path = tuple(name for field in fields for name in ("properties", field))
    return any(_value(schema, path) is not None for schema in _schemas(definition))


def gates_of(pod: Object) -> set[str]:
    """Feature gates that an operator's pod was started with."""
    found = set()
    for argument in pod["spec"]["containers"][0].get("args") or ():
        option, _, gates = argument.partition("=")
        if option.lstrip("-") == "feature-gates":
            found |= {gate.removesuffix("=true") for gate in gates.split(",") if gate.endswith("=true")}
    return found


def _schemas(definition: Object) -> Iterator[object]:
    for version in definition["spec"]["versions"]:
        yield (version.get("schema") or {}).get("openAPIV3Schema")


def _value(node: object, path: Iterable[str]) -> object:
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node
