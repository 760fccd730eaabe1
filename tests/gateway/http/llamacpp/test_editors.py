"""The requests of llama.vim and llama.vscode: their shapes, and answers that these plug-ins can read."""

from typing import Any

import httpx
import pytest

from serving.engine.request import FinishReason, GenerationChunk, Priority
from tests.gateway.scripted_backend import ScriptedBackend

SAMPLERS = ["top_k", "top_p", "infill"]
FIELDS = ["content", "timings/prompt_n", "timings/prompt_ms", "timings/predicted_per_second", "truncated"]


def vim(**fields: object) -> dict[str, object]:
    """What llama.vim sends at a cursor."""
    return {
        "input_prefix": "def area(r):\n",
        "input_suffix": "\n\nprint(area(2))\n",
        "input_extra": [],
        "prompt": "    ",
        "n_predict": 32,
        "n_indent": 4,
        "top_k": 40,
        "top_p": 0.9,
        "samplers": SAMPLERS,
        "stop": [],
        "stream": False,
        "cache_prompt": True,
        "id_slot": 0,
        "t_max_prompt_ms": 500,
        "t_max_predict_ms": 250_000,
        "response_fields": [*FIELDS, "tokens_cached"],
        "model": "",
        **fields,
    }


def vscode(**fields: object) -> dict[str, object]:
    """What llama.vscode sends at a cursor."""
    return {
        "input_prefix": "def area(r):\n",
        "input_suffix": "\nprint(1)\n",
        "input_extra": [{"text": "x = 1\n", "time": 3, "filename": "b.py"}],
        "prompt": "    ",
        "n_predict": 16,
        "top_k": 40,
        "top_p": 0.99,
        "stream": False,
        "samplers": SAMPLERS,
        "cache_prompt": True,
        "id_slot": 0,
        "t_max_prompt_ms": 500,
        "t_max_predict_ms": 250_000,
        "lora": [{"id": 0, "scale": 0.5}],
        **fields,
    }


async def infill(client: httpx.AsyncClient, body: dict[str, object]) -> Any:
    response = await client.post("/infill", json=body, headers={"authorization": "Bearer "})
    assert response.status_code == 200, response.text
    return response.json()


async def test_vim_finds_what_it_asked_for_under_flat_names(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    backend.end = GenerationChunk(finish_reason=FinishReason.STOP, cached_tokens=5)
    answer = await infill(client, vim())
    assert set(answer) == {*FIELDS, "tokens_cached"}
    assert (answer["content"], answer["truncated"], answer["tokens_cached"]) == ("return 1\n", False, 5)
    assert answer["timings/prompt_n"] == len(backend.requests[0].prompt_ids) - 5
    assert answer["timings/prompt_ms"] >= 0


async def test_vim_finds_the_text_by_its_pattern_as_json_is_compact(client: httpx.AsyncClient) -> None:
    response = await client.post("/infill", json=vim())
    assert '"content":"return 1\\n"' in response.text


async def test_the_line_up_to_the_cursor_goes_behind_the_prefix(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    await infill(client, vim())
    encode = backend.tokenizer.encode
    prefix, suffix = encode("def area(r):\n    "), encode("\n\nprint(area(2))\n")
    assert backend.requests[0].prompt_ids == (2, 67, *prefix, 69, *suffix, 68)


async def test_vims_warm_up_computes_the_prompt_and_shows_nothing(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    extra = [{"filename": "a.py", "time": [5, 7], "text": "A = 1\n"}, {"filename": "b.py", "time": 2, "text": "B\n"}]
    empty = {"input_prefix": "", "input_suffix": "", "prompt": "", "input_extra": extra}
    warm = vim(**empty, n_predict=0, samplers=[], temperature=0.0, t_max_prompt_ms=1, t_max_predict_ms=1)
    assert await infill(client, warm | {"response_fields": [""]}) == {}
    answer = await infill(client, warm | {"response_fields": []})
    assert (answer["content"], answer["tokens_predicted"], answer["timings"]["predicted_n"]) == ("", 0, 0)
    assert answer["timings"]["prompt_n"] == len(backend.requests[-1].prompt_ids)
    assert [request.max_tokens for request in backend.requests] == [1, 1]


async def test_a_warm_up_goes_behind_completions_and_takes_no_place_of_theirs(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    """Only urgent requests end others of their session."""
    await infill(client, vim(n_predict=0))
    await infill(client, vim())
    assert [request.priority for request in backend.requests] == [Priority.NORMAL, Priority.URGENT]


async def test_a_warm_up_computes_what_the_completion_after_it_begins_with(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    extra = [{"filename": "b.py", "text": "B = 1\n"}, {"filename": "a.py", "text": "A = 2\n"}]
    await infill(client, vim(input_prefix="", input_suffix="", prompt="", input_extra=extra, n_predict=0))
    await infill(client, vim(input_extra=extra))
    warm, asked = (request.prompt_ids for request in backend.requests)
    encode = backend.tokenizer.encode
    files = (2, *encode("a.py\nA = 2\n"), 70, *encode("b.py\nB = 1\n"), 70)
    assert warm[: len(files)] == asked[: len(files)] == files


async def test_more_pieces_than_fit_are_answered_and_the_newest_are_taken(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    """llama.vim sends 16 pieces of 64 lines by default."""
    extra = [{"filename": f"{n:02}.py", "text": f"value_{n} = {n}\n" * 10} for n in range(16)]
    answer = await infill(client, vim(input_extra=extra))
    text = backend.tokenizer.decode(backend.requests[0].prompt_ids)
    assert answer["truncated"]
    assert "15.py" in text and "00.py" not in text
    assert not (await infill(client, vim(input_extra=extra[-1:])))["truncated"]


async def test_of_a_file_that_is_too_long_what_is_next_to_the_cursor_is_filled_in(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    lines = "".join(f"value_{number} = {number}\n" for number in range(400))
    answer = await infill(client, vim(input_prefix=lines, input_suffix=lines))
    assert (answer["content"], answer["truncated"]) == ("return 1\n", True)
    text = backend.tokenizer.decode(backend.requests[0].prompt_ids)
    assert "value_399 = 399\n    value_0 = 0\n" in text.replace("<|fim_suffix|>", "")


async def test_vscode_gets_an_object_with_timings_inside(client: httpx.AsyncClient) -> None:
    answer = await infill(client, vscode())
    tokens = answer["timings"]["predicted_n"]
    assert (answer["content"], answer["stop"], answer["tokens_predicted"]) == ("return 1\n", True, tokens)
    assert set(answer["timings"]) >= {"prompt_n", "prompt_ms", "prompt_per_second", "predicted_ms"}
    assert (answer["tokens_cached"], answer["truncated"], answer["model"]) == (0, False, "codegemma-test")


async def test_vscode_gets_a_list_of_what_it_wants_several_of(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    answers = await infill(client, vscode(n_cmpl=2))
    assert [(answer["index"], answer["content"]) for answer in answers] == [(0, "return 1\n"), (1, "return 1\n")]
    assert answers[0]["timings"] == answers[1]["timings"]
    # Greedy, they would be the same.
    assert [request.sampling.temperature for request in backend.requests] == [0.8, 0.8]
    assert len({request.sampling.seed for request in backend.requests}) == 2


async def test_one_completion_without_a_temperature_is_greedy(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    await infill(client, vscode())
    await infill(client, vscode(temperature=0.3))
    assert [request.sampling.temperature for request in backend.requests] == [0.0, 0.3]


async def test_an_answer_ends_before_a_line_that_is_indented_too_little(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    backend.text = "if r:\n        return 1\n\n    return 2\n\nprint(3)\n"
    answer = await infill(client, vscode(n_indent=4, n_predict=64))
    assert (answer["content"], answer["stop_type"]) == ("if r:\n        return 1\n\n    return 2", "eos")
    assert backend.running == 0


async def test_an_answer_that_takes_too_long_ends_with_what_there_is_once_it_has_a_line(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    backend.text = "a = 1 + 2 + 3\nb = 2\nc = 3\nd = 4\n"
    answer = await infill(client, vscode(t_max_predict_ms=1e-6, n_predict=64))
    assert backend.text.startswith(answer["content"])
    assert "a = 1 + 2 + 3\n" in answer["content"] < backend.text
    assert answer["timings"]["predicted_n"] < len(backend.tokenizer.encode(backend.text))
    assert backend.running == 0


async def test_health_and_props_say_what_plug_ins_look_for(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health")).json() == {"status": "ok"}
    props = (await client.get("/props")).json()
    assert props["default_generation_settings"]["n_ctx"] == 512
    assert props["model_path"] == "codegemma-test"


@pytest.mark.parametrize("path", ["/infill", "/completion"])
async def test_closing_the_connection_frees_the_backend(server: str, backend: ScriptedBackend, path: str) -> None:
    """llama.vim ends curl when the cursor moves on."""
    backend.pause_at = 2
    async with (
        httpx.AsyncClient(base_url=server) as client,
        client.stream("POST", path, json={**vim(prompt="x"), "stream": True}) as answer,
    ):
        await anext(answer.aiter_lines())
        assert backend.running
    await backend.idle.wait()
