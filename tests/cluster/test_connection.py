"""What a person reads when the cluster cannot be asked: one line with the remedy, status 2, never a stack trace."""

import builtins
import json
import os
import pty
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from serving.cluster.connection import connect
from tests.cluster import release
from tests.cluster.conftest import Run, run
from tests.cluster.kubernetes_api import KubernetesApi


def said(*args: str) -> str:
    result = run(*args)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output and result.stdout == ""
    assert result.stderr.startswith("error: ")
    return " ".join(result.stderr.split())


def test_no_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere/config")
    assert "there is no kubeconfig at /nowhere/config. Set KUBECONFIG" in said("status")


def test_a_kubeconfig_that_is_no_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text("{")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    assert "is not valid YAML" in said("status")


def test_a_kubeconfig_without_contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text("apiVersion: v1\nkind: Config\n")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    assert "the kubeconfig cannot be used" in said("status")


def _with_program(kubeconfig: Callable[[str], Path], **fields: object) -> Path:
    path = kubeconfig("http://127.0.0.1:1")
    document = yaml.safe_load(path.read_text())
    document["users"][0]["user"] = {"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1", **fields}}
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_program_that_logs_in_and_is_not_installed_is_named_with_how_to_get_it(
    kubeconfig: Callable[[str], Path], tmp_path: Path
) -> None:
    nothing = [{"name": "PATH", "value": str(tmp_path)}]
    _with_program(kubeconfig, command="gke-gcloud-auth-plugin", installHint="as they say", env=nothing)
    message = said("status")
    assert "context 'test' logs in by the program gke-gcloud-auth-plugin, and there is none on the PATH" in message
    assert "Install it: gcloud components install gke-gcloud-auth-plugin" in message


def test_a_program_that_nobody_knows_is_named_with_its_own_hint(kubeconfig: Callable[[str], Path]) -> None:
    path = _with_program(kubeconfig, command="./our-login", installHint="Ask the platform team.")
    message = said("doctor")
    assert f"the program ./our-login, and there is none at {path.parent / 'our-login'}" in message
    assert "Its kubeconfig says: Ask the platform team." in message


def test_a_program_that_cannot_log_in_is_named_with_what_it_says(kubeconfig: Callable[[str], Path]) -> None:
    _with_program(kubeconfig, command="sh", args=["-c", "echo you have no account >&2; exit 3"])
    message = said("status")
    assert "context 'test' logs in by the program sh, which failed: exec: process returned 3. you have no" in message
    assert "ERROR:root" not in message


def test_a_program_that_does_not_end_is_given_up_and_named_with_the_time(
    kubeconfig: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.cluster.login._LOGIN_S", 0.2)
    _with_program(kubeconfig, command="sleep", args=["600"])
    before = psutil.Process().children()
    message = said("status")
    assert "logs in by the program sleep, which failed: it did not end within 0.2 s and was killed." in message
    assert "Run it yourself, or log in again." in message
    assert psutil.Process().children() == before


def test_a_program_that_fails_at_a_terminal_is_named_too(kubeconfig: Callable[[str], Path]) -> None:
    """What it says goes to the terminal then, and not to the client."""
    _with_program(kubeconfig, command="sh", args=["-c", "exit 3"])
    command = [sys.executable, "-c", "from serving.cli.main import app; app()", "cluster", "status"]
    terminal, own_end = pty.openpty()
    with os.fdopen(terminal, "rb", buffering=0):
        done = subprocess.run(
            command, stdin=own_end, stdout=own_end, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
        os.close(own_end)
    assert done.returncode == 2 and "which failed: exec: process returned 3" in " ".join(done.stderr.split())


@pytest.mark.usefixtures("cluster")
def test_a_program_that_gives_a_token_is_used() -> None:
    path = Path(os.environ["KUBECONFIG"])
    document = yaml.safe_load(path.read_text())
    answer = {"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential", "status": {"token": "t"}}
    entry = {"apiVersion": answer["apiVersion"], "command": "echo", "args": [json.dumps(answer)]}
    document["users"][0]["user"] = {"exec": entry}
    path.write_text(yaml.safe_dump(document))
    assert connect(None, None).get("/version")


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("paths", ["{0}:", ":{0}", "{1}:{0}"])
def test_paths_of_kubeconfigs_that_are_empty_or_not_there_are_passed_over(
    paths: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", paths.format(os.environ["KUBECONFIG"], tmp_path / "absent"))
    assert connect(None, None).get("/version")


def test_an_empty_list_of_kubeconfigs_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", ":")
    assert "there is no kubeconfig at :. Set KUBECONFIG" in said("status")


def test_a_context_that_does_not_exist_names_those_that_do(kubeconfig: Callable[[str], Path]) -> None:
    kubeconfig("http://127.0.0.1:1")
    assert "--context 'prod' is not in" in (message := said("status", "--context", "prod"))
    assert "There are: other, test." in message


def test_no_cluster_at_the_address(kubeconfig: Callable[[str], Path]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        kubeconfig(f"http://127.0.0.1:{taken.getsockname()[1]}")
        message = said("status")
    assert "the API server of context 'test' at http://127.0.0.1:" in message and "Is the cluster running" in message


def test_a_cluster_that_does_not_answer_in_time(
    kubeconfig: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.cluster.connection._ANSWER_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        kubeconfig(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "did not answer within 0.05 s" in said("status")


def test_a_server_that_is_no_kubernetes(api: KubernetesApi, cluster: Run) -> None:
    api["get /version"] << b"<html>hello</html>"
    assert "answers, but not as a Kubernetes API" in said("doctor")


def test_credentials_that_are_not_accepted(api: KubernetesApi, cluster: Run) -> None:
    api["get /apis/ray.io/v1/namespaces/codegemma/rayservices"] << 401
    assert "the cluster does not accept these credentials. Log in again" in said("status")


def test_a_right_that_is_missing_is_named(api: KubernetesApi, cluster: Run) -> None:
    api.forbidden.add("GET /apis/ray.io/v1/namespaces/codegemma/rayservices")
    message = said("status")
    assert "no right to GET /apis/ray.io/v1/namespaces/codegemma/rayservices in context 'test'" in message
    assert 'User "ada" cannot' in message and "Ask for a role" in message


def test_an_error_of_the_cluster_is_passed_on(api: KubernetesApi, cluster: Run) -> None:
    api["get /apis/ray.io/v1/namespaces/codegemma/rayservices"] << 503 << {"message": "etcd is down"}
    assert "with status 503: etcd is down" in said("status")


@pytest.mark.parametrize("command", ["status", "logs", "rollback"])
def test_without_kuberay_it_says_so(api: KubernetesApi, cluster: Run, command: str) -> None:
    for key in ("ray.io/v1/rayservices", "ray.io/v1/rayclusters"):
        del api.resources[key]
    message = said(command)
    assert "does not know rayservices.ray.io: KubeRay is not installed. Is it the right context?" in message


def test_a_namespace_that_does_not_exist(cluster: Run) -> None:
    message = said("status", "--namespace", "elsewhere")
    assert "namespace 'elsewhere' does not exist in context 'test'" in message


def test_a_release_that_does_not_exist_names_those_that_do(api: KubernetesApi, cluster: Run) -> None:
    api.add("ray.io/v1/rayservices", release.service())
    message = said("status", "--release", "codegama")
    assert "has no release 'codegama'; its releases: codegemma (RayService codegemma)." in message


def test_without_the_client_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "kubernetes":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert "pip install 'codegemma-serving[cluster]'" in said("status")


def test_a_chosen_context_and_namespace_are_used(kubeconfig: Callable[[str], Path]) -> None:
    kubeconfig("http://127.0.0.1:1")
    chosen = connect("other", "elsewhere")
    assert (chosen.context, chosen.namespace, chosen.host) == ("other", "elsewhere", "http://127.0.0.1:1")
    assert connect(None, None).namespace == "codegemma"  # that of the context


def test_help_imports_neither_the_client_nor_jax_nor_ray() -> None:
    code = (
        "import json, sys\n"
        "from serving.cli.main import app\n"
        "print(json.dumps([name for name in ('kubernetes', 'jax', 'ray') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
