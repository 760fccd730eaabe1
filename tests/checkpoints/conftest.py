"""The checkpoint that tests convert and inspect."""

from pathlib import Path

import pytest

from tests.service.tiny_codegemma import write_tiny_codegemma


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_codegemma(tmp_path_factory.mktemp("tiny"))
