"""Services and routes: which pods and ports they lead to."""

from collections.abc import Iterator

from tests.helm.chart import Case, Object, every_case, of_kind, pods, rendered, selects


@every_case
def test_selectors_match_pods_of_the_release(case: Case) -> None:
    objects = rendered(case)
    labels = {name: pod["metadata"]["labels"] for name, pod, _ in pods(objects)}
    for kind, selector in _selectors(objects):
        assert any(selects(selector, each) for each in labels.values()), (kind, selector)
    for name, service in of_kind(objects, "Service").items():
        part = "codegemma-envoy" if "envoy" in name else "gateway"
        assert [pod for pod in labels if selects(service["spec"]["selector"], labels[pod])] == [part]


def _selectors(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    for each in objects:
        match each["kind"]:
            case "NetworkPolicy":
                yield "NetworkPolicy", each["spec"]["podSelector"]
            case "PodDisruptionBudget" | "Deployment" | "PodMonitor":
                yield each["kind"], each["spec"]["selector"]
            case "Service":
                yield "Service", each["spec"]["selector"]


@every_case
def test_services_and_routes_lead_to_ports_that_containers_have(case: Case) -> None:
    objects = rendered(case)
    all_pods = [pod for _, pod, _ in pods(objects)]
    services = of_kind(objects, "Service")
    for service in services.values():
        (pod,) = (each for each in all_pods if selects(service["spec"]["selector"], each["metadata"]["labels"]))
        declared = pod["spec"]["containers"][0]["ports"]
        targets = {port["targetPort"] for port in service["spec"]["ports"]}
        assert targets <= {port["containerPort"] for port in declared} | {port["name"] for port in declared}
    for name, port in _backends(objects):
        assert port in {value for each in services[name]["spec"]["ports"] for value in (each["port"], each["name"])}


def _backends(objects: list[Object]) -> Iterator[tuple[str, object]]:
    for each in objects:
        match each["kind"]:
            case "Ingress":
                for rule in each["spec"]["rules"]:
                    for path in rule["http"]["paths"]:
                        yield path["backend"]["service"]["name"], path["backend"]["service"]["port"]["name"]
            case "HTTPRoute" | "GRPCRoute":
                for rule in each["spec"]["rules"]:
                    for backend in rule["backendRefs"]:
                        if "kind" not in backend and "canary" not in backend["name"]:  # of other kinds and releases
                            yield backend["name"], backend["port"]
