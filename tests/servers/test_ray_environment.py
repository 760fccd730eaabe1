"""An environment of another version, as of a Helm chart that is older or newer than the image, is named as such."""

import pytest

from serving.app import build
from serving.servers.ray_environment import RAY_ENVIRONMENT, check_version

_NAME = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"


@pytest.mark.parametrize("path", ["serving.servers.guard.guards", "serving.servers.guards.guard", "servers.guards", ""])
def test_code_that_is_not_here_is_of_another_version(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_NAME, path)
    with pytest.raises(ValueError, match=f"^{_NAME}={path} names nothing of codegemma-serving .* of another version"):
        build({})  # before anything else is looked at


def test_the_environment_of_this_version_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_NAME, RAY_ENVIRONMENT[_NAME])
    check_version()
