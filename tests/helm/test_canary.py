"""A second release behind the routes of the first, with a share of the requests."""

import os
from pathlib import Path

import pytest
import yaml

from tests.helm.chart import (
    CASE,
    CHART,
    HELMS,
    NAMESPACE,
    RELEASE,
    Case,
    Object,
    merged,
    of_kind,
    rendered,
    run,
    values,
)
from tests.helm.cluster import KubernetesApi
from tests.helm.mistake import Mistake, assert_named, refusal
from tests.kubernetes_server import serve

MISTAKES = [
    Mistake(
        ("edge.gatewayApi.canary.weight=10", "edge.gatewayApi.canary.name is empty", "codegemma-canary"),
        {"edge": {"gatewayApi": {"canary": {"name": ""}}}},
        base="canary",
    ),
    Mistake(
        ("edge.gatewayApi.canary.name=codegemma-canary", "edge.gatewayApi.enabled=false"),
        {"edge": {"gatewayApi": {"enabled": False}}},
        base="canary",
    ),
    Mistake(
        ("edge.gatewayApi.canary.name=codegemma is this release itself",),
        {"edge": {"gatewayApi": {"canary": {"name": RELEASE}}}},
        base="canary",
    ),
]


def _routes(case: Case) -> dict[str, dict[str, int]]:
    """Weights of each route's backends, by kind of route."""
    text = run("helm4", "template", RELEASE, CHART, "-n", NAMESPACE, *values(case), case=case).stdout
    objects = [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]
    return {
        kind: {backend["name"]: backend["weight"] for backend in route["spec"]["rules"][0]["backendRefs"]}
        for kind in ("HTTPRoute", "GRPCRoute")
        for route in of_kind(objects, kind).values()
    }


def _with_weight(weight: object) -> Case:
    base = CASE["canary"]
    return Case("weight", base.profiles, merged(base.values, {"edge": {"gatewayApi": {"canary": {"weight": weight}}}}))


@pytest.mark.parametrize("weight", [0, 10, 100])
def test_both_protocols_share_all_requests_alike(weight: int) -> None:
    shares = {"": 100 - weight, "-canary": weight}
    assert _routes(_with_weight(weight)) == {
        route: {f"{RELEASE}{release}-{kind}": share for release, share in shares.items()}
        for route, kind in (("HTTPRoute", "http"), ("GRPCRoute", "grpc"))
    }


def test_another_weight_changes_routes_and_nothing_else() -> None:
    def others(weight: int) -> list[Object]:
        case = _with_weight(weight)
        text = run("helm4", "template", RELEASE, CHART, "-n", NAMESPACE, *values(case), case=case).stdout
        objects = [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]
        return [each for each in objects if not each["kind"].endswith("Route")]

    assert others(0) == others(50)


def test_without_a_canary_a_route_has_no_weights() -> None:
    for kind in ("HTTPRoute", "GRPCRoute"):
        for route in of_kind(rendered(CASE["gateway-api"]), kind).values():
            [backend] = route["spec"]["rules"][0]["backendRefs"]
            assert "weight" not in backend


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.names[0])
def test_what_cannot_be_meant_is_refused(helm: str, mistake: Mistake) -> None:
    assert_named(mistake, refusal(helm, mistake))


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("weight", [-1, 101, 12.5, "10%"])
def test_a_weight_is_a_percentage(helm: str, weight: object) -> None:
    base = {"edge": {"gatewayApi": {"canary": {"weight": weight}}}}
    message = refusal(helm, Mistake(("weight",), base, base="canary"))
    assert "canary.weight" in message.replace("/", ".")


@pytest.mark.parametrize("helm", HELMS)
def test_a_release_that_the_cluster_does_not_have_is_refused(helm: str, tmp_path: Path) -> None:
    def refused(*services: str) -> str:
        api = KubernetesApi()
        items = [
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NAMESPACE}}
            for name in services
        ]
        # kmock's own lists have no kind, and Helm fails.
        listed = {"apiVersion": "v1", "kind": "ServiceList", "items": items}
        api[f"get /api/v1/namespaces/{NAMESPACE}/services"] << listed
        with serve(api) as url:
            environment = os.environ | {"HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "none")}
            asking = ("--dry-run=server", "--disable-openapi-validation", "--kube-apiserver", url)
            case = CASE["canary"]
            arguments = ("template", RELEASE, CHART, "-n", NAMESPACE, "-s", "templates/edge/routes.yaml", *asking)
            result = run(helm, *arguments, *values(case), case=case, check=False, env=environment)
            return result.stderr if result.returncode else ""

    for services in ((), ("codegemma-http",), ("codegemma-canary-http",)):
        message = refused(*services)
        assert "edge.gatewayApi.canary.name=codegemma-canary" in message and f"namespace {NAMESPACE} has no" in message
    assert "codegemma-canary-grpc" in message
    assert not refused("codegemma-canary-http", "codegemma-canary-grpc")
