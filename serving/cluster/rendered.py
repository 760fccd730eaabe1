"""The models of a rendered RayService, and the chips that its workers have."""

from collections.abc import Sequence

import yaml
from pydantic import ValidationError

from serving.cluster.chips import CHIPS, Chip
from serving.cluster.connection import Object
from serving.cluster.errors import ClusterError
from serving.cluster.fields import MissingFieldError
from serving.cluster.manifests import name_of
from serving.config import ServingConfig

_LABELS = ("cloud.google.com/gke-accelerator", "cloud.google.com/gke-tpu-accelerator")


def config_of(objects: Sequence[Object], source: str) -> tuple[ServingConfig, list[Chip]]:
    """The configuration of the RayService among some objects, and the kinds of chips that its workers select.

    Raises:
      ClusterError: there is none, or several, or what it configures is not this service.
    """
    services = [one for one in objects if one["kind"] == "RayService"]
    if len(services) != 1:
        found = ", ".join(map(name_of, services)) or "none"
        raise ClusterError(f"{source}: one RayService is sized, and here is: {found}. Give the rendered chart.")
    try:
        spec = services[0]["spec"]
        applications = yaml.safe_load(spec["serveConfigV2"])["applications"]
        config = ServingConfig.model_validate(applications[0]["args"])
        groups = spec["rayClusterConfig"].get("workerGroupSpecs") or []
        selectors = [group["template"]["spec"].get("nodeSelector") or {} for group in groups]
    except (MissingFieldError, KeyError, TypeError, IndexError, yaml.YAMLError, ValidationError) as error:
        raise ClusterError(f"{source}: {name_of(services[0])} is not of this service: {error}") from None
    labels = {str(selector[label]) for selector in selectors for label in _LABELS if label in selector}
    return config, [chip for chip in CHIPS.values() if chip.label in labels]
