"""The client commands against a real HTTP gateway, output not on a terminal."""

import ast
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from serving.cli.main import app
from serving.engine.request import FinishReason
from serving.gateway.request import ChatPrompt, FimPrompt, Message, PostProcessing, Speaker
from sharding.step import SamplingParams
from tests.cli.conftest import ScriptedService

SOURCE = "def fib(n):\n    if \n\nprint(fib(10))\n"


def run(*args: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, args, input=stdin, catch_exceptions=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "fib.py"
    path.write_text(SOURCE)
    return path


def test_complete_prints_exactly_the_completion(service: ScriptedService, url: str, source: Path) -> None:
    result = run("complete", f"{source}:2:8")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "n < 2:\n        return n", "")


def test_complete_sends_the_code_before_and_after_the_place(service: ScriptedService, url: str, source: Path) -> None:
    run("complete", f"{source}:2:8", "-n", "12", "-t", "0.5", "-m", "code")
    (request,) = service.asked
    assert isinstance(request.prompt, FimPrompt)
    assert (request.prompt.prefix, request.prompt.suffix) == ("def fib(n):\n    if ", "\n\nprint(fib(10))\n")
    assert (request.model, request.max_tokens, request.sampling.temperature) == ("code", 12, 0.5)


def test_complete_asks_for_the_rest_of_the_block_in_the_files_language(
    service: ScriptedService, url: str, source: Path
) -> None:
    run("complete", f"{source}:2:8")
    (request,) = service.asked
    assert isinstance(request.prompt, FimPrompt)
    assert request.prompt.path == str(source)
    assert request.post_processing == PostProcessing()


def test_complete_sends_other_files_and_the_language(
    service: ScriptedService, url: str, source: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.py"
    other.write_bytes(b"x = 1\r\n")
    run("complete", f"{source}:2:8", "--context", str(other), "-c", str(source), "--language", "go")
    (request,) = service.asked
    assert isinstance(request.prompt, FimPrompt)
    files = [(file.path, file.text) for file in request.prompt.context_files]
    assert files == [(str(other), "x = 1\r\n"), (str(source), SOURCE)]
    assert request.language == "go"


def test_a_context_file_that_cannot_be_read_is_a_usage_error(source: Path) -> None:
    result = run("complete", f"{source}:2:8", "--context", "none.py")
    assert (result.exit_code, "cannot read 'none.py'" in result.stderr) == (2, True)


def test_complete_shows_the_lines_around_with_their_numbers(service: ScriptedService, url: str, source: Path) -> None:
    lines = [line.rstrip() for line in run("complete", f"{source}:2:8", "--show").stdout.splitlines()]
    assert [line for line in lines if line] == [
        "  1 def fib(n):",
        "  2     if n < 2:",
        "  3         return n",
        "  4",
        "  5 print(fib(10))",
        "  6",
    ]


def test_models_lists_roles_fim_context_and_aliases(url: str) -> None:
    header, *rows = [line.split("  ") for line in run("models").stdout.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in (header, *rows)]
    assert cells == [
        ["model", "roles", "fill-in-the-middle", "context", "aliases"],
        ["codegemma-2b", "fim", "native", "8192", "code, gemma"],
        ["gemma-3-270m", "-", "from the prefix", "8192", "-"],
        ["codegemma-7b-it", "chat", "-", "8192", "-"],
    ]


def test_models_as_json_is_what_the_server_sent(url: str) -> None:
    models = json.loads(run("models", "--json").stdout)
    assert [model["id"] for model in models] == ["codegemma-2b", "gemma-3-270m", "codegemma-7b-it"]
    assert models[0].items() >= {"roles": ["fim"], "fim": "native", "context_length": 8192}.items()


def test_chat_answers_one_message(service: ScriptedService, url: str) -> None:
    service.pieces = ["Use ", "`sum`."]
    result = run("chat", "Add numbers?", "--system", "Be short.")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Use `sum`.\n", "")
    (request,) = service.asked
    assert isinstance(request.prompt, ChatPrompt)
    assert request.prompt.messages == (
        Message(Speaker.SYSTEM, "Be short."),
        Message(Speaker.USER, "Add numbers?"),
    )
    assert request.sampling == SamplingParams(seed=request.sampling.seed)


@pytest.mark.parametrize("args", [("chat",), ("chat", "-")])
def test_chat_reads_the_message_from_a_pipe(service: ScriptedService, url: str, args: tuple[str, ...]) -> None:
    run(*args, stdin="Explain:\nx = 1\n")
    (request,) = service.asked
    assert isinstance(request.prompt, ChatPrompt)
    assert request.prompt.messages == (Message(Speaker.USER, "Explain:\nx = 1\n"),)


def test_without_a_server_every_command_says_how_to_start_one(source: Path) -> None:
    refused = f"[Errno {errno.ECONNREFUSED}] {os.strerror(errno.ECONNREFUSED)}"
    for args in (["models"], ["chat", "hello"], ["complete", f"{source}:1:1"]):
        result = run(*args, "--url", "http://127.0.0.1:9")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            f"error: No answer from http://127.0.0.1:9: {refused}. Is the server running? "
            "`codegemma serve` starts one, --url names another.\n"
        )


def test_what_the_server_refuses_is_said_in_one_line(service: ScriptedService, url: str) -> None:
    result = run("chat", "hello", "-m", "gpt-4")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: model is 'gpt-4', which is not served\n"


def test_a_url_without_scheme_is_refused_before_anything_is_sent() -> None:
    result = run("models", "--url", "localhost:8000")
    assert result.exit_code == 2
    assert "'localhost:8000' must begin with http:// or https://" in " ".join(result.stderr.replace("│", "").split())


def test_a_place_that_is_not_there_is_a_usage_error(source: Path) -> None:
    result = run("complete", f"{source}:99:1")
    assert result.exit_code == 2
    assert "99 is not among them" in result.stderr


@pytest.mark.parametrize("command", ["serve", "complete", "chat", "models", "compile"])
def test_help_of_every_command_ends_with_examples(command: str) -> None:
    text = run(command, "--help").stdout
    assert f"codegemma {command}" in text.split("Examples")[1]


HEAVY = {
    "aiohttp", "codegemma", "grpc", "jax", "kubernetes", "numpy", "openai", "opentelemetry", "prometheus_client", "ray",
    "sentencepiece", "starlette", "tokenizers", "yaml",
}  # fmt: skip
"""What other commands import, and takes longer than `complete` may take to start."""


INVOKE = (
    "from typer.testing import CliRunner; from serving.cli.main import app; "
    "assert CliRunner().invoke(app, {}).exit_code == 0"
)


def imported(program: str, *also: str) -> list[str]:
    """Which heavy modules, or modules of `also`, a program imports."""
    program += f"; import sys; print(sorted({HEAVY | set(also)!r} & set(sys.modules)))"
    printed = subprocess.check_output([sys.executable, "-c", program], text=True, stderr=subprocess.DEVNULL)
    modules: list[str] = ast.literal_eval(printed)
    return modules


@pytest.mark.parametrize("command", ["complete", "chat"])
def test_a_command_that_a_person_waits_for_imports_nothing_heavy(command: str, url: str, source: Path) -> None:
    args = [command, f"{source}:2:8" if command == "complete" else "hello"]
    program = INVOKE.format(args)
    views = ("rich.markdown", "serving.cli.answer_view", "serving.cli.completion_view", "serving.config")
    assert imported(program, *views) == []


def test_the_command_line_imports_no_command() -> None:
    assert imported("import serving.cli.main", "httpx", "pydantic", "serving.cli.complete") == []


def test_the_help_needs_neither_jax_nor_ray_nor_kubernetes() -> None:
    program = INVOKE.format(["--help"])
    assert not {"jax", "ray", "kubernetes", "openai"} & set(imported(program))


def test_a_mistyped_command_is_answered_with_the_one_meant() -> None:
    result = run("compleet")
    assert result.exit_code == 2
    assert "'complete'" in result.stderr


@pytest.mark.parametrize("args", [("chat", "hello"), ("chat", "hello", "-n", "2")])
def test_chat_says_when_its_answer_was_cut(service: ScriptedService, url: str, args: tuple[str, ...]) -> None:
    service.finish_reason = FinishReason.LENGTH
    result = run(*args)
    assert (result.exit_code, result.stdout) == (0, "n < 2:\n        return n\n")
    assert "cut" in result.stderr
    assert "--max-tokens" in result.stderr


def test_complete_says_nothing_of_a_cut_to_a_program(service: ScriptedService, url: str, source: Path) -> None:
    service.finish_reason = FinishReason.LENGTH
    assert run("complete", f"{source}:2:8").stderr == ""


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999", "http://127.0.0.1:abc", "http://", "http://[::1", "http://a..b"]
)
@pytest.mark.parametrize("args", [("models",), ("bench", "serve")])
def test_an_address_that_cannot_be_one_is_a_usage_error(url: str, args: tuple[str, ...]) -> None:
    result = run(*args, "--url", url)
    assert result.exit_code == 2
    shown = " ".join(result.stderr.replace("│", " ").split())
    assert "--url" in shown
    assert url in shown
    assert "http://HOST:PORT" in shown


def test_a_key_that_no_header_can_hold_is_a_usage_error() -> None:
    result = run("models", "--api-key", "schlüssel\n")
    assert result.exit_code == 2
    assert "--api-key" in result.stderr
