"""Runs `codegemma inspect` for the tests of what it says."""

import json
from typing import Any

from typer.testing import CliRunner, Result

from serving.cli.main import app


def inspect(*args: object) -> Result:
    """The command with these arguments."""
    return CliRunner().invoke(app, ["inspect", *map(str, args)], catch_exceptions=False)


def found(*args: object, status: int = 0) -> dict[str, Any]:
    """Its report as JSON; it has to end with this status."""
    result = inspect(*args, "--json")
    assert result.exit_code == status, result.output
    report: dict[str, Any] = json.loads(result.stdout)
    return report
