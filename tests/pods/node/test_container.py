"""What a kubelet and a container runtime make of a pod's specification, as far as it needs no root."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.autoscaler._private.kuberay.node_provider import worker_delete_patch, worker_replica_patch

from tests.helm.chart import CASE, Object, ray_service
from tests.pods.control_plane import kuberay
from tests.pods.control_plane.api_server import replace
from tests.pods.node.container import Sandbox, oci_config
from tests.pods.node.environment import environment_of, expanded
from tests.pods.node.image import Image
from tests.pods.node.seccomp import without_capabilities

_CLUSTER = kuberay.ray_cluster(ray_service(CASE["demo"]), "abcde")
_POD = kuberay.head_pod(_CLUSTER, "fghij")
_SECRETS = {"codegemma-abcde": {"auth_token": "drawn"}}
_IMAGE = Image(Path("/image"), {"PATH": "/opt/codegemma/bin:/bin"}, "/home/codegemma")
_SANDBOX = Sandbox("pod", {"network": "/run/netns/pod"}, {"/etc/hosts": Path("/hosts")})


def environment(container: Object) -> dict[str, str]:
    return environment_of(
        container, _POD, image=_IMAGE.environment, cluster={"KUBERNETES_SERVICE_HOST": "h"}, secrets=_SECRETS, ip="i"
    )


@pytest.fixture(params=_POD["spec"]["containers"] + _POD["spec"]["initContainers"], ids=lambda each: each["name"])
def container(request: pytest.FixtureRequest) -> Object:
    each: Object = request.param
    return each


@pytest.fixture
def profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A profile of system calls, for machines without one."""
    file = tmp_path / "seccomp.json"
    file.write_text('{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": []}')
    monkeypatch.setattr("tests.pods.node.seccomp._PROFILE", file)


@pytest.mark.usefixtures("profile")
def test_every_container_runs_as_the_pod_says(container: Object) -> None:
    config = oci_config(container, _POD["spec"]["securityContext"], _SANDBOX, _IMAGE, environment(container), [])
    process = config["process"]
    assert process["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [1000]}
    assert set(process["capabilities"]) == {"bounding", "effective", "inheritable", "permitted", "ambient"}
    assert not any(process["capabilities"].values())
    assert process["noNewPrivileges"] and config["root"] == {"path": "/image", "readonly": True}
    assert {each["type"] for each in config["linux"]["namespaces"]} >= {"pid", "mount", "network"}


@pytest.mark.usefixtures("profile")
def test_what_a_volume_covers_is_not_mounted_before() -> None:
    mounts = [{"destination": "/dev/shm", "type": "bind", "source": "/volume"}]
    ray = _POD["spec"]["containers"][0]
    config = oci_config(ray, _POD["spec"]["securityContext"], _SANDBOX, _IMAGE, environment(ray), mounts)
    assert [each["type"] for each in config["mounts"] if each["destination"] == "/dev/shm"] == ["bind"]
    assert config["linux"]["resources"]["memory"] == {"limit": 4 * 2**30}
    assert config["linux"]["resources"]["cpu"] == {"quota": 100_000, "period": 100_000}


def test_capabilities_are_refused() -> None:
    ray = _POD["spec"]["containers"][0]
    own = ray["securityContext"] | {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}
    with pytest.raises(NotImplementedError, match="ray-head"):
        oci_config(ray | {"securityContext": own}, _POD["spec"]["securityContext"], _SANDBOX, _IMAGE, {}, [])


def test_variables_come_from_image_cluster_pod_and_secrets() -> None:
    head, autoscaler = _POD["spec"]["containers"]
    assert (
        environment(head).items()
        >= {
            "PATH": "/opt/codegemma/bin:/bin",
            "KUBERNETES_SERVICE_HOST": "h",
            "HOSTNAME": "codegemma-abcde-head-fghij",
            "RAY_AUTH_TOKEN": "drawn",
            "RAY_CLUSTER_NAME": "codegemma-abcde",
            "RAY_NODE_TYPE_NAME": "headgroup",
        }.items()
    )
    assert expanded(autoscaler["args"][0], environment(autoscaler)).endswith(
        "--cluster-name codegemma-abcde --cluster-namespace codegemma"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(A)", "1-1"),
        ("$(B)", "$(B)"),  # not known
        ("$$(A)", "$(A)"),
        ("$A ${A}", "$A ${A}"),  # the shell's
    ],
)
def test_references_are_replaced_as_kubernetes_replaces_them(text: str, expected: str) -> None:
    assert expanded(text, {"A": "1"}) == expected


@given(st.text(alphabet="abc(){} ${}"))
def test_escaped_text_comes_back(text: str) -> None:
    assert expanded(text.replace("$", "$$"), {"a": "1", "b": "2"}) == text


def test_the_autoscalers_patches_change_the_cluster() -> None:
    cluster = kuberay.ray_cluster(ray_service(CASE["demo"]), "abcde")
    replace(cluster, worker_replica_patch("0", 2))
    replace(cluster, worker_delete_patch("0", ["gone"]))
    gateway = cluster["spec"]["workerGroupSpecs"][0]
    assert (gateway["replicas"], gateway["scaleStrategy"]) == (2, {"workersToDelete": ["gone"]})


def test_rules_for_capabilities_and_other_machines_are_left_out() -> None:
    def rule(name: str, includes: Object, excludes: Object) -> Object:
        return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [], "includes": includes, "excludes": excludes}

    rules = [
        rule("read", {}, {}),
        rule("arch_prctl", {"arches": ["amd64", "x32"]}, {}),
        rule("sync_file_range2", {"arches": ["arm"]}, {}),
        rule("mount", {"caps": ["CAP_SYS_ADMIN"]}, {}),
        rule("clone3", {}, {"caps": ["CAP_SYS_ADMIN"]}),
    ]
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": rules}
    allowed = [name for each in without_capabilities(profile)["syscalls"] for name in each["names"]]
    assert allowed == ["read", "arch_prctl", "clone3"]
