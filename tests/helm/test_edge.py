import yaml

from serving.config import ServingConfig
from serving.servers.grpc_services import GRPC_SERVICES
from tests.helm.chart import CASE, Case, merged, of_kind, rendered, serve_config, template


def test_routes_lead_to_every_service_that_the_gateway_answers() -> None:
    (route,) = of_kind(rendered(CASE["gateway-api"]), "GRPCRoute").values()
    routed = {match["method"]["service"] for match in route["spec"]["rules"][0]["matches"]}
    assert routed == set(GRPC_SERVICES)


def test_an_ingress_leads_grpc_by_path() -> None:
    ingress = of_kind(rendered(CASE["ingress"]), "Ingress")["codegemma-grpc"]
    paths = {path["path"] for path in ingress["spec"]["rules"][0]["http"]["paths"]}
    assert paths == {f"/{name}" for name in GRPC_SERVICES}


def test_nginx_lets_through_what_the_service_allows() -> None:
    config = ServingConfig.model_validate(serve_config(CASE["ingress-nginx"])["applications"][0]["args"])
    ingresses = of_kind(rendered(CASE["ingress-nginx"]), "Ingress")
    grpc = ingresses["codegemma-grpc"]["metadata"]["annotations"]
    assert grpc["nginx.ingress.kubernetes.io/backend-protocol"] == "GRPC"
    for ingress in ingresses.values():
        annotations = ingress["metadata"]["annotations"]
        assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == str(config.gateway.max_body_bytes)
        assert float(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]) == config.gateway.request_timeout_s


def test_an_ingress_is_for_the_default_class_and_no_controller_in_particular() -> None:
    for ingress in of_kind(rendered(CASE["ingress"]), "Ingress").values():
        assert "ingressClassName" not in ingress["spec"]
        assert not [key for key in ingress["metadata"]["annotations"] if "nginx" in key]


def test_annotations_for_grpc_are_on_the_ingress_of_grpc_only() -> None:
    case = CASE["ingress"]
    further = {"edge": {"ingress": {"annotations": {"a": "b"}, "grpcAnnotations": {"backend": "h2c"}}}}
    text = template("helm4", Case("annotated", case.profiles, merged(case.values, further))).stdout
    ingresses = of_kind([each for each in yaml.load_all(text, yaml.CSafeLoader) if each], "Ingress")
    found = {name: each["metadata"]["annotations"] for name, each in ingresses.items()}
    assert (found["codegemma-grpc"]["backend"], found["codegemma-grpc"]["a"]) == ("h2c", "b")
    assert "backend" not in found["codegemma-http"]


def test_a_gateway_of_the_charts_own_ends_tls_for_each_name_and_gets_the_routes() -> None:
    objects = rendered(CASE["gateway"])
    (gateway,) = of_kind(objects, "Gateway").values()
    assert gateway["metadata"]["annotations"] == {"cert-manager.io/cluster-issuer": "acme"}
    assert gateway["spec"]["gatewayClassName"] == "eg"
    listeners = {each["hostname"]: each for each in gateway["spec"]["listeners"]}
    assert len({each["name"] for each in gateway["spec"]["listeners"]}) == len(listeners)
    for kind in ("HTTPRoute", "GRPCRoute"):
        (route,) = of_kind(objects, kind).values()
        assert route["spec"]["parentRefs"] == [{"name": gateway["metadata"]["name"]}]
        for name in route["spec"]["hostnames"]:
            assert listeners[name]["allowedRoutes"] == {"namespaces": {"from": "Same"}, "kinds": [{"kind": kind}]}
            assert listeners[name]["protocol"] == "HTTPS"
            assert listeners[name]["tls"] == {"mode": "Terminate", "certificateRefs": [{"name": "tls"}]}
    assert not of_kind(rendered(CASE["gateway-api"]), "Gateway")


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
