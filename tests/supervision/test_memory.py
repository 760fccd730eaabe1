"""When memory is short: at Ray's threshold if its monitor ends processes there, otherwise when hardly any is left."""

import pytest

from serving.supervision.memory import Memory

_GIB = 2**30


@pytest.mark.parametrize(("used", "short"), [(92, False), (93, True), (99, True)])
def test_memory_is_short_at_rays_threshold(used: int, short: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_memory_monitor_refresh_ms", raising=False)
    assert Memory(used * _GIB, 100 * _GIB).is_short is short


@pytest.mark.parametrize(("used", "total", "short"), [(239, 256, False), (255, 256, True), (23, 24, False)])
def test_without_rays_monitor_memory_is_short_when_hardly_any_is_left(
    used: int, total: int, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")
    assert Memory(used * _GIB, total * _GIB).is_short is short
