"""`codegemma keys --secret`: keys kept in a Secret."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from serving.access.keys import KeyFile
from serving.cli.main import app
from serving.cluster.connection import connect
from serving.cluster.errors import ClusterError
from serving.cluster.key_secret import SecretKeys
from serving.config import Role
from tests.cluster.kubernetes_api import KubernetesApi
from tests.kubernetes_server import serve

type Keys = Callable[..., Result]


@pytest.fixture
def keys(api: KubernetesApi, kubeconfig: Callable[[str], Path]) -> Iterator[Keys]:
    """Runs `codegemma keys ... --secret codegemma-keys` against the API in memory."""

    def run(*args: str) -> Result:
        command = ["keys", *args, "--secret", "codegemma-keys"]
        return CliRunner().invoke(app, command, env={"COLUMNS": "200"}, catch_exceptions=False)

    with serve(api) as url:
        kubeconfig(url)
        yield run


def kept() -> KeyFile:
    file = SecretKeys(connect(None, None), "codegemma-keys", "keys.yaml").read()
    assert file is not None
    return file


def test_create_makes_the_secret_and_then_adds_to_it(keys: Keys) -> None:
    made = [keys("create", name).stdout.strip() for name in ("a", "b")]
    assert [entry.name for key in made if (entry := kept().find(key))] == ["a", "b"]


def test_list_and_revoke_work_on_the_secret(keys: Keys) -> None:
    key = keys("create", "a").stdout.strip()
    [entry] = kept().keys
    assert entry.id in keys("list").stdout
    assert keys("revoke", entry.id).exit_code == 0
    assert kept().find(key) is None


def test_what_else_the_secret_holds_stays(api: KubernetesApi, keys: Keys) -> None:
    other = base64.b64encode(b"other").decode()
    metadata = {"name": "codegemma-keys", "namespace": "codegemma"}
    api.add("v1/secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"other": other}})
    assert keys("create", "a").exit_code == 0
    secret = connect(None, None).get("/api/v1/namespaces/codegemma/secrets/codegemma-keys")
    assert set(secret["data"]) == {"other", "keys.yaml"}


def test_a_secret_that_is_not_there_is_named(keys: Keys) -> None:
    result = keys("list")
    assert result.exit_code == 1
    assert "codegemma-keys" in result.stderr


def test_no_right_to_the_secret_is_said(api: KubernetesApi, keys: Keys) -> None:
    api.forbidden.add("GET /api/v1/namespaces/codegemma/secrets")
    result = keys("create", "a")
    assert result.exit_code == 2
    assert "no right to" in result.stderr


def test_a_change_that_came_between_is_not_overwritten(api: KubernetesApi, keys: Keys) -> None:
    keys("create", "a")
    store = SecretKeys(connect(None, None), "codegemma-keys", "keys.yaml")
    before = store.read()
    assert before is not None
    mine, _ = before.with_new("mine", "", (Role.FIM,))
    keys("create", "theirs")
    with pytest.raises(ClusterError, match="changed by somebody else"):
        store.write(mine)
    assert [entry.name for entry in kept().keys] == ["a", "theirs"]
