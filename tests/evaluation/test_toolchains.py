"""Which languages this machine can run is found out, never assumed."""

import pytest

from serving.evaluation.toolchains import LANGUAGES, MissingToolchainError, find_toolchain


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "python"])
def test_a_missing_toolchain_says_what_to_install(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingToolchainError, match="apt install"):
        find_toolchain(language)


def test_python_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_toolchain("python").compile == ""
