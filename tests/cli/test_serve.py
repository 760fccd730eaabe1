"""`codegemma serve`, up to where Ray would start."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving.cli.main import app


@pytest.mark.parametrize(("name", "text"), [("[/x].yaml", None), ("x.yaml", "'[/ops]': 1"), ("x.yaml", "[bold]")])
def test_what_is_wrong_with_a_file_is_said_as_it_is(tmp_path: Path, name: str, text: str | None) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    result = CliRunner().invoke(app, ["serve", "--config", str(path)], catch_exceptions=False)
    assert result.exit_code == 2
    said = result.stderr.replace("\n", "")
    assert said.startswith("error: ")
    assert name in said
