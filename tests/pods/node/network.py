"""The pods' network: a bridge without a way out of this machine, and a network namespace for each pod."""

import ipaddress
from contextlib import suppress

from tests.pods.node.command import CommandError, run

BRIDGE = "cg-pods"
_NETWORK = ipaddress.ip_network("198.18.113.0/24")
"""Of the range that is set aside for benchmarks (RFC 2544), which no network of a site has."""
HOST = str(_NETWORK[1])
"""This machine on the bridge: the API server and the Services listen there."""
NUMBERS = range(2, 255)
"""Of pods: the last byte of their addresses."""


def start_bridge() -> None:
    """Makes the bridge.

    Raises:
      CommandError: there is one already, or the kernel has none.
    """
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{HOST}/{_NETWORK.prefixlen}", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")


def address(number: int) -> str:
    """A pod's address, by its number."""
    return str(_NETWORK[number])


def _name(number: int) -> str:
    return f"cg-{number}"  # short: names of network devices have 15 letters at most


class PodNetwork:
    """The network namespace of a pod.

    Attributes:
      name: as `ip netns exec` wants it.
      ip: the pod's address.
      path: of the namespace.
    """

    def __init__(self, number: int) -> None:
        """Makes it: `number` is the pod's, one of `NUMBERS`."""
        self.name = _name(number)
        self.ip = address(number)
        self.path = f"/run/netns/{self.name}"
        inside, outside = f"{self.name}-in", self.name
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", self.name)
        run("ip", "link", "set", outside, "master", BRIDGE, "up")
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        run("ip", "-n", self.name, "link", "set", inside, "name", "eth0")
        run("ip", "-n", self.name, "address", "add", f"{self.ip}/{_NETWORK.prefixlen}", "dev", "eth0")
        run("ip", "-n", self.name, "link", "set", "eth0", "up")
        run("ip", "-n", self.name, "route", "add", "default", "via", HOST)  # Ray asks by which address it would go out

    def remove(self) -> None:
        """Removes it; what runs in it should have ended."""
        run("ip", "netns", "delete", self.name)


def remove_all() -> None:
    """Removes the bridge and all namespaces of pods, also those that an earlier run left."""
    there = {line.split()[0] for line in run("ip", "netns", "list").splitlines()}
    for name in there & {_name(number) for number in NUMBERS}:
        run("ip", "netns", "delete", name)
    with suppress(CommandError):  # there is none
        run("ip", "link", "delete", BRIDGE)
