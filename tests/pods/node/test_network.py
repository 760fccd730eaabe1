"""What the end of a run removes of the machine's networks."""

from pathlib import Path

import pytest

from tests.pods.node import network


def test_only_the_runs_own_namespaces_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = tmp_path / "calls"
    program = tmp_path / "ip"
    program.write_text(
        f"""#!/bin/sh
echo "$*" >>{calls}
[ "$*" != "netns list" ] || printf 'cg-2 (id: 0)\\ncg-254\\ncg-staging\\ncg-2-backup\\nother\\n'
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    network.remove_all()
    deleted = {line.removeprefix("netns delete ") for line in calls.read_text().splitlines() if "netns delete" in line}
    assert deleted == {"cg-2", "cg-254"}
