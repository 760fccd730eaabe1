"""A service whose callers have API keys."""

from pathlib import Path

import httpx

from serving.access.keys import KeyFile
from serving.config import GatewayConfig, Role, RouteConfig, RoutingConfig
from serving.gateway.access import BearerAccess
from serving.gateway.http.app import build_http_app
from serving.gateway.service import CodeService
from tests.gateway.scripted_backend import ScriptedBackend, served_model


class Keys:
    """A key file, and the service that follows it."""

    def __init__(self, path: Path, backend: ScriptedBackend, tenants_share_cache: bool | None = None) -> None:
        self.path = path
        gateway = GatewayConfig(keys_file=path, tenants_share_cache=tenants_share_cache)
        KeyFile().write(path)
        models = [served_model(backend, "both", Role.FIM, Role.CHAT), served_model(backend, "other", Role.FIM)]
        routing = RoutingConfig(
            roles=dict.fromkeys(Role, RouteConfig(models={"both": 1})), tenants={"apart": {Role.FIM: "other"}}
        )
        self.access = BearerAccess(path)
        self.service = CodeService(models, gateway, routing, access=self.access)
        self.app = build_http_app(lambda: self.service, gateway)

    def create(self, tenant: str = "", *roles: Role) -> str:
        known = KeyFile.read(self.path)
        file, key = known.with_new(f"somebody {len(known.keys)}", tenant, roles or tuple(Role))
        self.replace(file)
        return key

    def revoke_all(self) -> None:
        self.replace(KeyFile())

    def replace(self, file: KeyFile) -> None:
        file.write(self.path)
        self.refresh()

    def refresh(self) -> None:
        """Has the service read the file, if it changed."""
        followed = self.access.keys
        assert followed is not None
        followed.refresh()

    def http(self, headers: dict[str, str]) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)


FIM = {"prompt": "a", "suffix": "b"}
CHAT = {"messages": [{"role": "user", "content": "Hi"}]}
