"""`codegemma cluster apply` and `rollback`."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.cluster.rollout import watch_rollout
from tests.cluster import release
from tests.cluster.conftest import Run, run
from tests.cluster.kuberay_operator import Operator
from tests.cluster.kubernetes_api import KubernetesApi

SERVICE = "/apis/ray.io/v1/namespaces/codegemma/rayservices/codegemma"
CONFIG_MAP = "/api/v1/namespaces/codegemma/configmaps/dashboards"


def service(image: str = "1", **metadata: Any) -> dict[str, Any]:
    spec = copy.deepcopy(release.service()["spec"])
    spec["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"] = image
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": release.RELEASE} | metadata,
        "spec": spec,
    }


def configured(config: str) -> dict[str, Any]:
    """The service with another Serve config."""
    one = service()
    one["spec"]["serveConfigV2"] = config
    return one


def of_prod(image: str = "1") -> dict[str, Any]:
    """The service of release `prod`, as the chart names and labels it."""
    return service(image, name="prod-codegemma", labels={"app.kubernetes.io/instance": "prod"})


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dashboards"}, "data": data}


def written(*objects: dict[str, Any]) -> str:
    return yaml.safe_dump_all(objects)


@pytest.fixture
def operator(api: KubernetesApi, cluster: Run, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """The operator of a service that runs, on whose clock commands wait."""
    operator = Operator(api)
    watch = partial(watch_rollout, clock=operator.clock, sleep=operator.sleep)
    monkeypatch.setattr("serving.cli.cluster_apply.watch_rollout", watch)
    cluster("apply", "-f", "-", "--no-wait", input=written(service()))
    operator.sleep(10)
    return operator


@pytest.fixture
def apply(cluster: Run) -> Callable[..., str]:
    """Applies objects without waiting; returns what was printed."""

    def apply(*objects: dict[str, Any], args: tuple[str, ...] = ()) -> str:
        result = cluster("apply", "-f", "-", "--no-wait", *args, input=written(*objects))
        assert result.exit_code == 0, result.output
        return result.stdout

    return apply


def image(api: KubernetesApi) -> str:
    spec = api.objects["ray.io/v1/rayservices", "codegemma", "codegemma"].raw["spec"]
    found: str = spec["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"]
    return found


def test_it_says_what_was_created_configured_and_left(api: KubernetesApi, apply: Callable[..., str]) -> None:
    assert apply(service(), config_map(a="1")).splitlines() == [
        "ConfigMap/dashboards created",
        "RayService/codegemma created",
        "revision 1 of codegemma",
    ]
    assert apply(service("2"), config_map(a="1")).splitlines() == [
        "ConfigMap/dashboards unchanged",
        "RayService/codegemma configured",
        "revision 2 of codegemma",
    ]
    assert image(api) == "2"
    assert api.applied[SERVICE][-1] == {"fieldManager": "codegemma", "force": "false"}


def test_fields_that_a_manifest_no_longer_has_go(api: KubernetesApi, apply: Callable[..., str]) -> None:
    apply(config_map(a="1", b="2"))
    apply(config_map(b="2"))
    assert api.objects["v1/configmaps", "codegemma", "dashboards"].raw["data"] == {"b": "2"}


def test_the_same_manifests_again_make_no_revision(apply: Callable[..., str]) -> None:
    apply(service())
    assert "revision 1 of codegemma" in apply(service())


def test_a_directory_is_applied_without_hooks_and_kustomizations(
    api: KubernetesApi, cluster: Run, tmp_path: Path
) -> None:
    hook = config_map() | {"metadata": {"name": "test", "annotations": {"helm.sh/hook": "test"}}}
    (tmp_path / "a.yaml").write_text(written(service(), hook))
    (tmp_path / "b.yml").write_text(yaml.safe_dump({"kind": "ConfigMapList", "items": [config_map(a="1")]}))
    (tmp_path / "kustomization.yaml").write_text("resources: [a.yaml]")
    result = cluster("apply", "-f", str(tmp_path), "--no-wait")
    assert result.exit_code == 0, result.output
    assert set(api.applied) >= {SERVICE, CONFIG_MAP}
    assert not any(path.endswith("/test") for path in api.applied)


def test_a_dry_run_changes_nothing(api: KubernetesApi, apply: Callable[..., str]) -> None:
    assert apply(service(), args=("--dry-run",)) == "RayService/codegemma created (dry run)\n"
    assert api.applied[SERVICE] == [{"fieldManager": "codegemma", "force": "false", "dryRun": "All"}]
    assert ("ray.io/v1/rayservices", "codegemma", "codegemma") not in api.objects
    assert list(api.applied) == [SERVICE]


def test_it_waits_until_the_service_is_ready(operator: Operator, cluster: Run) -> None:
    result = cluster("apply", "-f", "-", input=written(configured("new")))
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("RayService/codegemma is in service\n")
    assert operator.clock() > 10 + 3 + 5  # it deploys for three seconds, and then looks good for five


def test_it_gives_the_cluster_sizes_that_kuberay_leaves_as_they_were(
    api: KubernetesApi, operator: Operator, cluster: Run
) -> None:
    api.add("ray.io/v1/rayclusters", release.ray_cluster())
    grown = service()
    grown["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["maxReplicas"] = 7
    result = cluster("apply", "-f", "-", input=written(grown))
    assert "RayCluster codegemma-abc12: gateway.maxReplicas 2 -> 7" in result.stdout
    there = api.objects["ray.io/v1/rayclusters", "codegemma", release.ACTIVE].raw
    assert there["spec"]["workerGroupSpecs"][0]["maxReplicas"] == 7


def test_a_configuration_that_ray_serve_does_not_start_is_no_success(operator: Operator, cluster: Run) -> None:
    operator.outcome = {"status": "DEPLOY_FAILED", "message": "no such checkpoint"}
    result = cluster("apply", "-f", "-", "--timeout", "30", input=written(configured("bad")))
    assert result.exit_code == 2
    assert "after 30 s: application codegemma is DEPLOY_FAILED: no such checkpoint." in " ".join(result.stderr.split())


def test_a_manifest_that_the_operator_refuses_is_told_with_its_reason(operator: Operator, cluster: Run) -> None:
    operator.refuses = "spec.rayClusterConfig.headGroupSpec: invalid"
    result = cluster("apply", "-f", "-", "--timeout", "10", input=written(configured("new")))
    assert result.exit_code == 2
    message = " ".join(result.stderr.split())
    assert "after 10 s: Ready is false: spec.rayClusterConfig.headGroupSpec: invalid (the operator has not" in message


def test_a_step_of_the_operator_that_fails_is_told_by_its_event(operator: Operator, cluster: Run) -> None:
    operator.fails = "Failed to update serve applications: 400 Bad Request"
    result = cluster("apply", "-f", "-", "--timeout", "10", input=written(configured("new")))
    assert result.exit_code == 2
    message = " ".join(result.stderr.split())
    assert "after 10 s: warning: Failed to update serve applications: 400 Bad Request (the operator has" in message


def test_a_service_that_does_not_get_ready_in_time(api: KubernetesApi, cluster: Run) -> None:
    result = cluster("apply", "-f", "-", "--timeout", "0", input=written(service()))
    assert result.exit_code == 2
    message = " ".join(result.stderr.split())
    assert "is not in service after 0 s: the operator has not taken up the newest manifest yet" in message
    assert "revision 1 of codegemma" in result.stdout  # it was applied, and can be rolled back


def test_a_field_of_another_manager_is_a_conflict_unless_forced(
    api: KubernetesApi, cluster: Run, apply: Callable[..., str]
) -> None:
    apply(service(), config_map(a="1"))
    api.owners[CONFIG_MAP] = {"data.a": "kubectl-edit"}
    result = cluster("apply", "-f", "-", "--no-wait", input=written(config_map(a="2")))
    assert result.exit_code == 2
    assert 'ConfigMap/dashboards: Apply failed with 1 conflict: conflict with "kubectl-edit": .data.a' in result.stderr
    assert "--force-conflicts" in result.stderr
    assert "configured" in apply(config_map(a="2"), args=("--force-conflicts",))


def test_a_manifest_that_the_cluster_finds_invalid(api: KubernetesApi, cluster: Run) -> None:
    api.invalid[SERVICE] = 'RayService.ray.io "codegemma" is invalid: spec.rayClusterConfig: Required value'
    result = cluster("apply", "-f", "-", input=written(config_map(), service()))
    assert result.exit_code == 2
    assert "spec.rayClusterConfig: Required value" in result.stderr
    assert result.stdout == "ConfigMap/dashboards created\n"  # what came before stays, and there is no revision


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "stdin is not valid YAML"),
        ("", "stdin: there are no manifests"),
        ("- 1", "a document is list, not a Kubernetes object"),
        ("kind: ConfigMap\nmetadata: {name: a}", "ConfigMap a has apiVersion=None"),
        ("apiVersion: v2\nname: codegemma-serving", "an object without a name has kind=None"),
    ],
)
def test_what_is_no_manifest_is_refused(cluster: Run, text: str, message: str) -> None:
    result = cluster("apply", "-f", "-", input=text)
    assert result.exit_code == 2 and message in " ".join(result.stderr.split())


def test_a_secret_of_someone_else_is_not_touched(api: KubernetesApi, cluster: Run) -> None:
    api.add("v1/secrets", {"metadata": {"name": "codegemma-applied"}, "data": {"password": "c2VjcmV0"}})
    result = cluster("apply", "-f", "-", input=written(service()))
    assert result.exit_code == 2 and "secret 'codegemma-applied' in namespace 'codegemma'" in result.stderr
    assert api.applied == {}


def test_times_stay_the_texts_they_are(api: KubernetesApi, cluster: Run) -> None:
    text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: dashboards}, data: {since: 2026-01-02}}"
    assert cluster("apply", "-f", "-", input=text).exit_code == 0
    assert api.objects["v1/configmaps", "codegemma", "dashboards"].raw["data"] == {"since": "2026-01-02"}


def test_a_file_that_is_no_text(cluster: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    result = cluster("apply", "-f", str(tmp_path / "a.yaml"))
    assert result.exit_code == 2 and "is no text" in result.stderr


def test_a_file_that_is_not_there(cluster: Run) -> None:
    result = cluster("apply", "-f", "nowhere.yaml")
    assert result.exit_code == 2 and "nowhere.yaml: No such file or directory" in result.stderr


def test_a_kind_that_the_cluster_does_not_know_stops_it_before_anything_is_changed(
    api: KubernetesApi, cluster: Run
) -> None:
    monitor = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "m"}}
    result = cluster("apply", "-f", "-", input=written(config_map(), monitor))
    assert result.exit_code == 2
    assert "PodMonitor/m: the cluster does not know PodMonitor in monitoring.coreos.com/v1" in result.stderr
    assert api.applied == {}


def test_a_namespace_that_is_missing_stops_it(cluster: Run) -> None:
    result = cluster("apply", "-f", "-", "--namespace", "elsewhere", input=written(config_map()))
    assert result.exit_code == 2 and "namespace 'elsewhere' does not exist" in result.stderr


def test_a_service_of_another_name_is_not_this_release(cluster: Run) -> None:
    result = cluster("apply", "-f", "-", input=written(service(name="other")))
    assert result.exit_code == 2
    assert "Add --release other --namespace codegemma." in result.stderr


def test_a_release_whose_name_is_only_a_part_of_its_service_s(api: KubernetesApi, cluster: Run) -> None:
    for number in ("1", "2"):
        result = cluster("apply", "-f", "-", "--release", "prod", "--no-wait", input=written(of_prod(number)))
        assert result.exit_code == 0, result.output
    result = cluster("rollback", "--release", "prod", "--timeout", "0")
    assert "RayService/prod-codegemma configured" in result.stdout
    assert "RayService 'prod-codegemma' is not in service after 0 s" in " ".join(result.stderr.split())
    result = cluster("apply", "-f", "-", input=written(of_prod()))
    assert result.exit_code == 2 and "Add --release prod --namespace codegemma." in " ".join(result.stderr.split())


def test_objects_of_helm_are_left_to_helm(api: KubernetesApi, cluster: Run) -> None:
    api.add("ray.io/v1/rayservices", of_helm())
    result = cluster("apply", "-f", "-", input=written(service()))
    assert result.exit_code == 2
    assert "belongs to the Helm release 'codegemma'" in result.stderr and "helm upgrade codegemma" in result.stderr
    assert api.applied == {}


def test_rollback_applies_what_was_before_as_a_new_revision(
    api: KubernetesApi, cluster: Run, apply: Callable[..., str]
) -> None:
    apply(service("1"))
    apply(service("2"), config_map(a="1"))
    result = cluster("rollback", "--no-wait")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "RayService/codegemma configured",
        "revision 3 of codegemma, as 1",
        "not in revision 1, left as they are: ConfigMap/dashboards",
    ]
    assert image(api) == "1"
    assert cluster("rollback", "--to", "2", "--no-wait").exit_code == 0
    assert image(api) == "2"


def test_rollback_after_an_apply_that_was_refused_halfway_goes_back_to_the_last_that_was_not(
    api: KubernetesApi, cluster: Run, apply: Callable[..., str]
) -> None:
    apply(service("1"))
    apply(service("2"))
    for image_of_attempt in ("3", "4"):
        api.invalid[SERVICE] = "no"
        attempt = written(config_map(a="1"), service(image_of_attempt))
        assert cluster("apply", "-f", "-", "--no-wait", input=attempt).exit_code == 2
    result = cluster("rollback", "--to", "9")
    assert "1 (20" in result.stderr and ", applied in part)" in " ".join(result.stderr.split())
    assert cluster("rollback", "--no-wait").exit_code == 2  # what is half done can be refused as well
    del api.invalid[SERVICE]
    result = cluster("rollback", "--no-wait")
    assert result.exit_code == 0 and "as 2\n" in result.stdout, result.output
    assert image(api) == "2"
    assert "as 1\n" in cluster("rollback", "--no-wait").stdout


def test_only_the_last_five_revisions_are_kept(api: KubernetesApi, cluster: Run, apply: Callable[..., str]) -> None:
    for number in range(1, 8):
        apply(service(str(number)))
    kept = api.objects["v1/secrets", "codegemma", "codegemma-applied"].raw["data"]
    assert sorted(kept) == ["3", "4", "5", "6", "7"]
    result = cluster("rollback", "--to", "2")
    assert result.exit_code == 2 and "has no revision 2; kept are: 3 (" in result.stderr


def test_rollback_without_an_earlier_revision(cluster: Run, apply: Callable[..., str]) -> None:
    apply(service())
    result = cluster("rollback")
    assert result.exit_code == 2 and "has no revision before; kept are: 1 (" in result.stderr


def test_rollback_of_a_helm_release_says_how_helm_does_it(api: KubernetesApi, cluster: Run) -> None:
    api.add("ray.io/v1/rayservices", of_helm())
    for number, status in ((1, "superseded"), (2, "superseded"), (3, "failed"), (4, "deployed")):
        labels = {"owner": "helm", "name": "codegemma", "version": str(number), "status": status}
        api.add("v1/secrets", {"metadata": {"name": f"sh.helm.release.v1.codegemma.v{number}", "labels": labels}})
    result = cluster("rollback")
    assert result.exit_code == 2
    assert "helm rollback codegemma 2 --namespace codegemma --wait" in " ".join(result.stderr.split())
    assert api.applied == {}


def test_rollback_of_a_helm_release_with_one_revision(api: KubernetesApi, cluster: Run) -> None:
    api.add("ray.io/v1/rayservices", of_helm())
    result = cluster("rollback")
    assert result.exit_code == 2 and "has no earlier revision" in result.stderr


def of_helm() -> dict[str, Any]:
    one = release.service()
    one["metadata"]["annotations"] = {"meta.helm.sh/release-name": "codegemma"}
    return one


def test_a_file_that_is_missing_is_named_before_a_cluster_is_asked(
    tmp_path: Path, kubeconfig: Callable[[str], Path]
) -> None:
    kubeconfig("http://127.0.0.1:1")  # where nobody answers
    result = run("apply", "-f", str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert f"{tmp_path / 'none.yaml'}: No such file or directory. Give a file or directory" in result.stderr
