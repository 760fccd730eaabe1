"""Service accounts, and who can call the Kubernetes API."""

from tests.helm.chart import Case, every_case, of_kind, pods, rendered
from tests.helm.containers import autoscaler, containers


@every_case
def test_only_the_autoscaler_can_call_the_kubernetes_api(case: Case) -> None:
    for name, pod, _ in pods(rendered(case)):
        tokens = {
            volume["name"]
            for volume in pod["spec"]["volumes"]
            for source in volume.get("projected", {}).get("sources", [])
            if "serviceAccountToken" in source
        }
        assert tokens == ({"kubernetes-api"} if name == "head" else set())
        mounted = {mount["name"] for each in containers(pod) for mount in each.get("volumeMounts", [])}
        assert not tokens & mounted, name
    assert "kubernetes-api" in {mount["name"] for mount in autoscaler(case)["volumeMounts"]}


@every_case
def test_service_accounts_exist_and_have_no_rights(case: Case) -> None:
    objects = rendered(case)
    accounts = of_kind(objects, "ServiceAccount")
    for _, pod, _ in pods(objects):
        assert accounts[pod["spec"]["serviceAccountName"]]["automountServiceAccountToken"] is False
    assert not {each["kind"] for each in objects} & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
