"""A service with a key file of its own."""

from pathlib import Path

import pytest

from tests.gateway.access.keys import Keys
from tests.gateway.scripted_backend import ScriptedBackend


@pytest.fixture
def keys(tmp_path: Path, backend: ScriptedBackend) -> Keys:
    return Keys(tmp_path / "keys.yaml", backend)
