"""The chart's objects that a run needs: the RayService, the Services before it, and what its pods mount."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tests.helm.chart import CASE, Case, Object, merged, of_kind, template


@dataclass(frozen=True)
class Manifest:
    """A rendered profile.

    Attributes:
      ray_service: what KubeRay's operator makes pods of.
      services: by name.
      config_maps: contents by name of the config map and name of the entry.
    """

    ray_service: Object
    services: Mapping[str, Object]
    config_maps: Mapping[str, Mapping[str, str]]

    @property
    def image(self) -> str:
        """The image of all pods."""
        head = self.ray_service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
        image: str = head["containers"][0]["image"]
        return image


def render(profile: str, values: Mapping[str, Any]) -> Manifest:
    """The objects of a profile with further values, rendered by Helm as `helm install` does.

    Raises:
      AssertionError: Helm refuses; it says why.
    """
    base = CASE[profile]
    case = Case(profile, base.profiles, merged(base.values, values))
    objects = [each for each in yaml.safe_load_all(template("helm4", case).stdout) if each]
    (ray_service,) = of_kind(objects, "RayService").values()
    config_maps = {name: each["data"] for name, each in of_kind(objects, "ConfigMap").items()}
    return Manifest(ray_service, of_kind(objects, "Service"), config_maps)
