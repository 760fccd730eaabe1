"""The credential plugin of a kubeconfig: which it is, and why it gave no credentials.

Kubernetes' Python client writes its failures to the root logger, and goes on without credentials.
"""

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from serving.cluster.errors import ClusterError

_INSTALL = {
    "gke-gcloud-auth-plugin": (
        "gcloud components install gke-gcloud-auth-plugin, or the package google-cloud-cli-gke-gcloud-auth-plugin"
    ),
    "aws": "AWS CLI 2, https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
    "aws-iam-authenticator": "https://github.com/kubernetes-sigs/aws-iam-authenticator",
    "kubelogin": "az aks install-cli, or https://azure.github.io/kubelogin",
    "kubectl-oidc_login": "kubectl krew install oidc-login",
}
"""How to install the plugins that kubeconfigs of clouds name."""
_LOGIN_S = 60.0
"""Long enough to log in, in a browser too. A program that was run by hand has what it needs, and answers at once."""


def _limit_programs() -> None:
    """Has Kubernetes' client, which has no setting for it, give a program up, now and when a token has expired."""
    from kubernetes.config import exec_provider

    programs: Any = exec_provider
    programs.subprocess = SimpleNamespace(Popen=_Program, PIPE=subprocess.PIPE)


class _Program(subprocess.Popen[str]):
    """A program as the client starts it."""

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """Its output and errors; kills it after the time."""
        try:
            output, errors = super().communicate(input, _LOGIN_S)
        except subprocess.TimeoutExpired:
            with self:  # which closes its pipes, and waits for its end
                self.kill()
            raise TimeoutError(f"it did not end within {_LOGIN_S:g} s and was killed.") from None
        return output, errors or ""  # None where errors go to the terminal, which the client does not expect


class LoginProgram:
    """What `users[].user.exec` of a kubeconfig names (kubernetes.io, "client-go credential plugins")."""

    def __init__(self, context: str, exec_config: Mapping[str, Any], directory: Path) -> None:
        """Takes the plugin of a context.

        Args:
          context: its name.
          exec_config: the entry.
          directory: of the kubeconfig; a path in it is relative to that.
        """
        self._context = context
        self._command = str(exec_config.get("command") or "")
        self._hint = str(exec_config.get("installHint") or "").strip()
        given = {str(one["name"]): str(one["value"]) for one in exec_config.get("env") or []}
        self._path = given.get("PATH", os.environ.get("PATH", os.defpath))
        self._directory = directory

    def check_installed(self) -> None:
        """Raises ClusterError, with how to get it, where there is no such program."""
        is_path = os.sep in self._command
        found = shutil.which(self._directory / self._command if is_path else self._command, path=self._path)
        if found is None:
            where = f"at {self._directory / self._command}" if is_path else "on the PATH"
            raise ClusterError(
                f"context '{self._context}' logs in by the program {self._command}, and there is none {where}. "
                f"{self._how_to_get_it()}"
            )

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Raises ClusterError with what it said, if it failed meanwhile, instead of logging that."""
        said: list[str] = []
        handler = logging.Handler(logging.ERROR)
        handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
        root = logging.getLogger()
        handlers, root.handlers = root.handlers, [handler]
        _limit_programs()
        try:
            yield
        finally:
            root.handlers = handlers
        if said:
            raise ClusterError(
                f"context '{self._context}' logs in by the program {self._command}, which failed: "
                f"{' '.join(said[0].split())} Run it yourself, or log in again."
            )

    def _how_to_get_it(self) -> str:
        name = Path(self._command).name
        if name in _INSTALL:
            return f"Install it: {_INSTALL[name]}."
        return f"Its kubeconfig says: {' '.join(self._hint.split())}" if self._hint else "Install it, or log in again."
