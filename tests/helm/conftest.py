"""Every test of the chart needs both Helms."""

import pytest

from tests.helm.chart import HELMS, ROOT


@pytest.fixture(scope="session", autouse=True)
def _binaries() -> None:
    missing = [name for name in (*HELMS, "kubectl", "rclone") if not (ROOT / ".helm" / name).exists()]
    if missing:
        pytest.fail(f".helm lacks {', '.join(missing)}. Run `make helm`.")
