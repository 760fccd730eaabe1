import json
import re

import promql_parser
import yaml

from serving.errors import Reason
from serving.telemetry.metrics import EXPORTED, METRICS
from tests.helm.chart import CASE, NAMESPACE, RELEASE, ROOT, Case, Object, merged, of_kind, rendered, template

_NAME = re.compile(r"\bray_[a-z_]+\b")
_SELECTED = re.compile(r"\b(ray_[a-z_]+)\{([^}]*)\}")


def _rules() -> list[Object]:
    (rule,) = of_kind(rendered(CASE["monitoring"]), "PrometheusRule").values()
    rules: list[Object] = rule["spec"]["groups"][0]["rules"]
    return rules


def _dashboards() -> dict[str, Object]:
    maps = of_kind(rendered(CASE["monitoring"]), "ConfigMap").values()
    return {name: json.loads(text) for each in maps for name, text in each["data"].items() if name.endswith(".json")}


def _expressions() -> list[str]:
    panels = [panel for board in _dashboards().values() for panel in board["panels"]]
    drawn = [target["expr"] for panel in panels for target in panel["targets"]]
    return [rule["expr"] for rule in _rules()] + drawn


def test_alerts_and_dashboards_use_metrics_that_are_exported() -> None:
    names = {name for expression in _expressions() for name in _NAME.findall(expression)}
    assert names
    assert names <= EXPORTED


def test_prometheus_can_read_every_expression() -> None:
    for expression in _expressions():
        promql_parser.parse(expression.replace("$__rate_interval", "5m"))  # Grafana puts a time there


def test_they_select_and_group_by_labels_that_the_metrics_have() -> None:
    labels = {name: set(metric.labels) for metric in METRICS for name in metric.exported}
    for expression in _expressions():
        for name, selector in _SELECTED.findall(expression):
            selected = set(re.findall(r"(\w+)\s*(?:=|!~|=~)", selector))
            assert selected <= labels[name] | {"namespace", "app_kubernetes_io_instance", "le"}, expression
        for names in re.findall(r"\bby \(([^)]*)\)", expression):
            grouped = {label.strip() for label in names.split(",")} - {"le"}
            assert all(grouped <= labels[name] for name in _NAME.findall(expression)), expression


def test_every_name_is_of_the_namespace_and_the_release() -> None:
    for expression in _expressions():
        for name in _NAME.findall(expression):
            for label in ("namespace", "app_kubernetes_io_instance"):
                assert re.search(rf"\b{name}\{{[^}}]*\b{label}=", expression), expression


def test_pods_are_scraped_with_the_release_that_the_alerts_select_by() -> None:
    (monitor,) = of_kind(rendered(CASE["monitoring"]), "PodMonitor").values()
    assert "app.kubernetes.io/instance" in monitor["spec"]["podTargetLabels"]
    for rule in _rules():
        assert rule["labels"]["namespace"] == NAMESPACE and rule["labels"]["app_kubernetes_io_instance"] == RELEASE


def test_a_model_that_may_have_no_group_while_nobody_asks_raises_no_alert() -> None:
    scaling = {"min_replicas": 0, "max_replicas": 2}
    models = [
        {"id": "fim-1.5", "checkpoint": "/models/a", "roles": ["fim"], "autoscaling": scaling},
        {"id": "chat", "checkpoint": "/models/b", "roles": ["chat"], "autoscaling": {"max_replicas": 2}},
    ]
    values = merged(CASE["monitoring"].values, {"serving": {"models": models}})
    worker = {"name": "cpu", "accelerator": "cpu", "minReplicas": 1, "maxReplicas": 4, "cpu": 4, "memory": "8Gi"}
    text = template("helm4", Case("idle", (), merged(values, {"workers": [worker]}))).stdout
    (rule,) = of_kind([each for each in yaml.safe_load_all(text) if each], "PrometheusRule").values()
    (alert,) = (each for each in rule["spec"]["groups"][0]["rules"] if each["alert"] == "CodegemmaNoGroup")
    promql_parser.parse(alert["expr"])
    (left_out,) = re.findall(r'model!~("[^"]*")', alert["expr"])
    pattern = json.loads(left_out)  # a string of Prometheus escapes as one of JSON
    assert re.fullmatch(pattern, "fim-1.5")
    assert not re.fullmatch(pattern, "chat") and not re.fullmatch(pattern, "fim-105")
    assert "absent(ray_codegemma_ready_groups{namespace=" in alert["expr"]


def test_reasons_of_failure_are_those_of_the_service() -> None:
    (rule,) = (rule for rule in _rules() if rule["alert"] == "CodegemmaErrors")
    (reasons,) = re.findall(r'reason=~"([^"]+)"', rule["expr"])
    assert set(reasons.split("|")) <= {reason.value for reason in Reason}


def test_every_alert_leads_to_its_section_of_the_runbook() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    for rule in _rules():
        assert rule["annotations"]["runbook_url"] == f"https://example.com/runbook.md#{rule['alert'].lower()}"
        assert f"\n## {rule['alert']}\n" in runbook


def test_dashboards_have_names_of_their_own_and_no_empty_panel() -> None:
    boards = _dashboards()
    assert boards.keys() == {"codegemma-fim.json", "codegemma-chat.json"}
    assert len({board["uid"] for board in boards.values()}) == len(boards)
    for board in boards.values():
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        assert all(panel["targets"] and panel["title"] for panel in board["panels"])


def test_grafana_finds_dashboards_and_prometheus_its_monitors() -> None:
    objects = rendered(CASE["monitoring"])
    board = of_kind(objects, "ConfigMap")["codegemma-dashboard-fim"]
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    for kind in ("PodMonitor", "PrometheusRule"):
        (each,) = of_kind(objects, kind).values()
        assert each["metadata"]["labels"]["release"] == "prometheus"


def test_envoy_is_scraped_where_it_runs() -> None:
    objects = rendered(CASE["envoy"])
    (monitor,) = of_kind(objects, "ServiceMonitor").values()
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    services = of_kind(objects, "Service").items()
    assert [name for name, each in services if wanted <= each["metadata"]["labels"].items()] == [
        "codegemma-envoy-status"
    ]
