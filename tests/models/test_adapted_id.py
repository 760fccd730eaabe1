"""The names of models with adapters."""

from serving.models.adapted_id import adapted_id, split_id


def test_ids_with_an_adapter_are_read_as_they_are_written() -> None:
    assert adapted_id("7b", "team-a") == "7b:team-a"
    assert split_id("7b:team-a") == ("7b", "team-a")
    assert split_id("7b") == ("7b", "")
    assert split_id("codegemma:7b:team-a") == ("codegemma:7b", "team-a")
