"""ServeFile: a Ray Serve config file, as far as `codegemma serve` follows it."""

import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml
from pydantic import ValidationError

from serving.config import ModelConfig, ServingConfig

_KEYS = {"proxy_location", "http_options", "grpc_options", "logging_config", "applications"}
_APPLICATION_KEYS = {"name", "route_prefix", "import_path", "args"}
IMPORT_PATH = "serving.app:build"


class ServeFileError(Exception):
    """The file cannot be served; the message names the file, the key and the remedy."""


@dataclass(frozen=True, kw_only=True)
class ServeFile:
    """A file with one application, ours.

    Attributes:
      http_options, grpc_options, logging_config: given to Ray Serve as they are.
      name: of the application.
    """

    path: Path
    http_options: dict[str, object]
    grpc_options: dict[str, object]
    logging_config: dict[str, object]
    name: str
    args: dict[str, object]
    config: ServingConfig

    @property
    def http_address(self) -> tuple[str, int]:
        return _address(self.http_options, default_port=8000)

    @property
    def grpc_address(self) -> tuple[str, int]:
        # Ray Serve has no host option for gRPC; clients on this machine reach it on the HTTP host.
        return self.http_address[0], _address(self.grpc_options, default_port=9000)[1]

    @property
    def cpus(self) -> int:
        """The CPUs that Ray reserves for all groups and Gateways, and for new ones beside those that end.

        What found none free would wait for ever.
        """
        groups = sum(_most_groups(model) * _cpus(model) for model in self.config.models)
        return 2 * (math.ceil(groups) + self.config.gateway.replicas)


def read_serve_file(path: Path) -> ServeFile:
    """Read and check a file.

    Raises:
      ServeFileError: it is not there, not YAML, not valid, or holds what only `serve run` or `serve deploy` follow.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ServeFileError(f"{path}: {error.strerror}. Give a Ray Serve config file with --config.") from None
    except yaml.YAMLError as error:
        raise ServeFileError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(document, dict):
        raise ServeFileError(f"{path}: expected a mapping with `applications` at the top.")
    _only(path, document, _KEYS)
    applications = document.get("applications") or []
    if len(applications) != 1:
        raise ServeFileError(f"{path}: applications has {len(applications)} entries; `codegemma serve` starts one.")
    application = applications[0]
    _only(path, application, _APPLICATION_KEYS)
    if application.get("import_path") != IMPORT_PATH:
        raise ServeFileError(
            f"{path}: applications[0].import_path is {application.get('import_path')!r}; it must be {IMPORT_PATH!r}."
        )
    args = application.get("args") or {}
    try:
        config = ServingConfig.model_validate(args)
    except ValidationError as error:
        problems = "\n".join(f"  args.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ServeFileError(f"{path} has {error.error_count()} wrong settings:\n{problems}") from None
    return ServeFile(
        path=path,
        http_options=dict(document.get("http_options") or {}),
        grpc_options=dict(document.get("grpc_options") or {}),
        logging_config=dict(document.get("logging_config") or {}),
        name=application.get("name", "codegemma"),
        args=args,
        config=config,
    )


def demo_file() -> Path:
    """The embedded default: one small real model for both roles."""
    checkout = Path(__file__).parents[2] / "config" / "demo.yaml"
    return checkout if checkout.exists() else Path(str(resources.files("serving"))) / "config" / "demo.yaml"


def _only(path: Path, mapping: dict[str, object], known: set[str]) -> None:
    unknown = sorted(set(mapping) - known)
    if unknown:
        raise ServeFileError(
            f"{path}: {', '.join(unknown)} is not followed by `codegemma serve`. "
            f"Start this file with `serve run {path}`, or remove it."
        )


def _most_groups(model: ModelConfig) -> int:
    return model.replicas if model.autoscaling is None else model.autoscaling.max_replicas


def _cpus(model: ModelConfig) -> float:
    """Of one group: its leader, and its hosts if they are processes of their own."""
    options = model.topology.deployment_options(model.ray_actor_options)
    bundles = options.get("placement_group_bundles", [{"CPU": options["ray_actor_options"].get("num_cpus", 1)}])
    return sum(float(bundle["CPU"]) for bundle in bundles)


def _address(options: dict[str, object], *, default_port: int) -> tuple[str, int]:
    return str(options.get("host", "127.0.0.1")), int(str(options.get("port", default_port)))
