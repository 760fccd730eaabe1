from serving.config import ServingConfig
from serving.grpc_services import GRPC_SERVICES
from tests.helm.chart import CASE, Case, merged, of_kind, rendered, serve_config, template


def test_routes_lead_to_every_service_that_the_gateway_answers() -> None:
    (route,) = of_kind(rendered(CASE["gateway-api"]), "GRPCRoute").values()
    routed = {match["method"]["service"] for match in route["spec"]["rules"][0]["matches"]}
    assert routed == set(GRPC_SERVICES)


def test_an_ingress_leads_grpc_by_path() -> None:
    ingress = of_kind(rendered(CASE["ingress"]), "Ingress")["codegemma-grpc"]
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/backend-protocol"] == "GRPC"
    paths = {path["path"] for path in ingress["spec"]["rules"][0]["http"]["paths"]}
    assert paths == {f"/{name}" for name in GRPC_SERVICES}


def test_nginx_lets_through_what_the_service_allows() -> None:
    config = ServingConfig.model_validate(serve_config(CASE["ingress"])["applications"][0]["args"])
    for ingress in of_kind(rendered(CASE["ingress"]), "Ingress").values():
        annotations = ingress["metadata"]["annotations"]
        assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == str(config.gateway.max_body_bytes)
        assert float(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]) == config.gateway.request_timeout_s


def test_a_load_balancer_without_pods_is_let_in_by_its_addresses() -> None:
    case = CASE["gateway-api"]
    outside = {
        "edge": {"controllerNamespace": ""},
        "networkPolicy": {"clients": [{"ipBlock": {"cidr": "35.191.0.0/16"}}]},
    }
    assert "35.191.0.0/16" in template("helm4", Case("outside", case.profiles, merged(case.values, outside))).stdout


def test_envoy_sees_each_gateway_pod() -> None:
    service = of_kind(rendered(CASE["envoy"]), "Service")["codegemma-gateways"]
    assert service["spec"]["clusterIP"] == "None"
    assert "codegemma-gateways" not in of_kind(rendered(CASE["gpu"]), "Service")
