"""Other users of the machine cannot read Ray's token."""

from pathlib import Path

import pytest

from serving.cli.ray_token import close_ray_token


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("is_there", [False, True])
def test_the_directory_of_rays_token_is_its_users_alone(home: Path, is_there: bool) -> None:
    directory = home / ".ray"
    if is_there:
        directory.mkdir(0o755)
    close_ray_token()
    assert directory.stat().st_mode & 0o777 == 0o700


def test_a_home_that_cannot_be_written_is_left_to_ray(home: Path) -> None:
    (home / ".ray").touch()
    close_ray_token()
    assert (home / ".ray").is_file()
