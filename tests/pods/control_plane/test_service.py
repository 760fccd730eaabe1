"""Which pods a Service sends new connections to."""

from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from tests.pods.control_plane.service import endpoints

_SELECTOR = {"component": "gateway"}


@dataclass(frozen=True)
class Seen:
    ip: str
    labels: Mapping[str, str]
    ready: bool
    terminating: bool


_PODS = st.lists(
    st.builds(
        Seen,
        ip=st.ip_addresses(v=4).map(str),
        labels=st.sampled_from([_SELECTOR, {"component": "worker"}, _SELECTOR | {"team": "a"}]),
        ready=st.booleans(),
        terminating=st.booleans(),
    ),
    unique_by=lambda pod: pod.ip,
    max_size=5,
)


@given(_PODS)
def test_connections_go_to_pods_that_are_ready_and_to_those_that_end_only_without_others(pods: list[Seen]) -> None:
    answering = {pod.ip: pod for pod in pods if pod.ready and pod.labels["component"] == "gateway"}
    chosen = endpoints(pods, _SELECTOR)
    assert set(chosen) <= set(answering)
    assert bool(chosen) == bool(answering)
    ends = {answering[ip].terminating for ip in chosen}
    assert ends == {False} or all(pod.terminating for pod in answering.values())
