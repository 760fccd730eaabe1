"""`codegemma` at a (pseudo) terminal, with the keys that a person presses."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.engine.request import FinishReason
from serving.gateway.request import ChatPrompt, Message, Speaker
from tests.cli.conftest import ScriptedService

CTRL_C, CTRL_D = b"\x03", b"\x04"
PROMPT = b">"
pytestmark = pytest.mark.timeout(120)
# The new session takes its standard input as controlling terminal, so that Ctrl-C becomes a signal.
RUN = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from serving.cli.main import app; app()"


class Terminal:
    """The command at a terminal of 80 columns and 24 lines."""

    def __init__(self, *args: str) -> None:
        self._ours, theirs = pty.openpty()
        self._seen = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, *args],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
            start_new_session=True,
        )
        os.close(theirs)

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def read_until(self, text: bytes) -> bytes:
        """What is printed next, up to `text`; the test's time limit ends a wait for something that never comes."""
        while text not in self._seen:
            self._seen += os.read(self._ours, 4096)
        before, _, self._seen = self._seen.partition(text)
        return before + text

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


OpenTerminal = Callable[..., Terminal]


@pytest.fixture
def terminal(url: str) -> Iterator[OpenTerminal]:
    opened: list[Terminal] = []

    def open_terminal(*args: str) -> Terminal:
        opened.append(Terminal(*args))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


def test_a_conversation_remembers_its_turns_and_ends_with_ctrl_d(
    service: ScriptedService, terminal: OpenTerminal
) -> None:
    service.pieces = ["Use ", "**sum**."]
    chat = terminal("chat")
    chat.read_until(PROMPT)
    chat.press(b"Add numbers?\n")
    chat.read_until(b"sum")
    chat.read_until(PROMPT)
    chat.press(b"Why?\n")
    chat.read_until(b"sum")
    chat.read_until(PROMPT)
    chat.press(CTRL_D)
    assert chat.process.wait() == 0
    assert [request.prompt.messages for request in service.asked if isinstance(request.prompt, ChatPrompt)] == [
        (Message(Speaker.USER, "Add numbers?"),),
        (
            Message(Speaker.USER, "Add numbers?"),
            Message(Speaker.MODEL, "Use **sum**."),
            Message(Speaker.USER, "Why?"),
        ),
    ]


def test_ctrl_c_stops_the_answer_at_the_server_too_and_the_conversation_goes_on(
    service: ScriptedService, terminal: OpenTerminal
) -> None:
    service.stays_open = True
    chat = terminal("chat")
    chat.read_until(PROMPT)
    chat.press(b"Count for ever\n")
    chat.read_until(b"return")
    assert not service.closed.is_set()
    chat.press(CTRL_C)
    chat.read_until(b"stopped")
    chat.read_until(PROMPT)
    assert service.closed.wait(timeout=30)
    chat.press(CTRL_D)
    assert chat.process.wait() == 0


def test_ctrl_c_ends_a_single_answer_with_the_exit_code_of_an_interrupt(
    service: ScriptedService, terminal: OpenTerminal
) -> None:
    service.stays_open = True
    chat = terminal("chat", "Count for ever")
    chat.read_until(b"return")
    chat.press(CTRL_C)
    chat.read_until(b"stopped")
    assert chat.process.wait() == 130
    assert service.closed.wait(timeout=30)


def test_a_refused_question_does_not_end_the_conversation(service: ScriptedService, terminal: OpenTerminal) -> None:
    chat = terminal("chat", "--model", "gpt-4")
    chat.read_until(PROMPT)
    chat.press(b"hello\n")
    chat.read_until(b"error: model is 'gpt-4', which is not served")
    chat.read_until(PROMPT)
    chat.press(CTRL_D)
    assert chat.process.wait() == 0


def test_the_completion_is_marked_among_the_lines_around_it(
    service: ScriptedService, terminal: OpenTerminal, tmp_path: Path
) -> None:
    (tmp_path / "fib.py").write_text("def fib(n):\n    if \n")
    complete = terminal("complete", f"{tmp_path}/fib.py:2:8", "--show")
    shown = complete.read_until(b"return")
    assert b"48;5;22m" in shown  # dark green behind what was filled in


def test_a_completion_that_was_cut_says_so_at_a_terminal(
    service: ScriptedService, terminal: OpenTerminal, tmp_path: Path
) -> None:
    service.finish_reason = FinishReason.LENGTH
    (tmp_path / "fib.py").write_text("def fib(n):\n    if \n")
    complete = terminal("complete", f"{tmp_path}/fib.py:2:8")
    assert b"return n" in complete.read_until(b"(cut")
    assert complete.process.wait() == 0
