"""Adapters of a group of several hosts: all hosts load the same one at the same step, or its requests fail alone."""

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from serving.engine.adapters import ReadAdapter
from serving.engine.engine import Engine
from serving.engine.request import FinishReason, GenerationRequest
from serving.group.adapters import GroupAdapters
from serving.group.channel import TOKEN_BYTES, LeaderChannel
from serving.group.channel_messages import LoadAdapter
from serving.group.host_adapters import HostAdapters
from serving.group.hosted_adapters import HostedAdapters
from serving.group.reading import Reading
from serving.models.adapter_directory import AdapterDirectory
from sharding.adapters.forms import adapter_version
from sharding.step import Limits, Row, Token
from tests.engine.simulated import Receiver
from tests.group.adapted_model import ADAPTERS, LIMITS, PROMPT, TOKENS, drawn_by_merged_model
from tests.sharding.peft_files import peft_tensors, write_peft
from tests.sharding.random_adapters import model_parameters
from tests.sharding.small_models import LOCAL

pytestmark = pytest.mark.timeout(240)
HOST = Path(__file__).parent / "adapter_host.py"
LEADER, FIRST, SECOND = "leader", "host 0", "host 1"
EVERYWHERE = (LEADER, FIRST, SECOND)


def put(directory: Path, name: str, contents: str, tensors: Mapping[str, np.ndarray] | None = None) -> None:
    """Puts an adapter there, in the place of what had its name; `tensors` take the place of its own."""
    written = write_peft(directory.parent / "written", peft_tensors(ADAPTERS[contents], factor=2) | dict(tensors or {}))
    shutil.rmtree(directory / name, ignore_errors=True)
    shutil.move(written, directory / name)


class HostProcesses:
    """Two hosts; also `HostReaders` of both."""

    def __init__(self, hosts: Sequence[subprocess.Popen[str]]) -> None:
        self._hosts = hosts
        self.addresses = [(ip, port) for ip, port in map(self._said, hosts)]

    def read(self, read: int, name: str, version: str) -> list[Reading]:
        for host in self._hosts:
            self._tell(host, [read, name, version])
        return [Reading(*said) for said in map(self._said, self._hosts)]

    def forget(self, read: int) -> None:
        for host in self._hosts:
            self._tell(host, read)

    @staticmethod
    def _tell(host: subprocess.Popen[str], message: object) -> None:
        assert host.stdin is not None
        host.stdin.write(f"{json.dumps(message)}\n")
        host.stdin.flush()

    @staticmethod
    def _said(host: subprocess.Popen[str]) -> Any:
        assert host.stdout is not None
        return json.loads(host.stdout.readline() or "a host ended")


class Leader:
    """The `Runner` of two hosts."""

    def __init__(self, channel: LeaderChannel) -> None:
        self.channel = channel

    @property
    def limits(self) -> Limits:
        return LIMITS

    def launch(self, rows: Sequence[Row]) -> None:
        self.channel.launch(rows)

    def land(self) -> list[list[Token]]:
        return self.channel.land()


class Group:
    """An engine over two hosts, each of which has a directory of adapters, as the leader has."""

    def __init__(self, path: Path, hosts: HostProcesses, leader: Leader) -> None:
        self.path = path
        self.leader = leader
        self.directory = AdapterDirectory(path / LEADER)
        source = HostedAdapters(self.directory, hosts, leader.channel.load_adapter)
        self.engine = Engine(leader, max_queue=64, adapters=source, loop_s=0)
        self._requests = 0

    def put(
        self,
        name: str,
        contents: str,
        at: Sequence[str] = EVERYWHERE,
        tensors: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        for machine in at:
            put(self.path / machine, name, contents, tensors)
        self.directory.scan()

    def ask(self, name: str) -> Receiver:
        self._requests += 1
        receiver, request_id = Receiver(), f"r{self._requests}"
        request = GenerationRequest(request_id=request_id, prompt_ids=PROMPT, max_tokens=TOKENS, adapter=name)
        self.engine.submit(request, receiver)
        return receiver

    def answers(self, *names: str) -> list[Receiver]:
        receivers = list(map(self.ask, names))
        while self.engine.step():
            pass
        return receivers


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory, unused_tcp_port_factory: Callable[[], int]) -> Iterator[Group]:
    path, token = tmp_path_factory.mktemp("group"), secrets.token_bytes(TOKEN_BYTES)
    for machine in EVERYWHERE:
        (path / machine).mkdir()
    np.savez(path / "model.npz", **model_parameters(LOCAL))  # type: ignore[arg-type]
    coordinator = f"127.0.0.1:{unused_tcp_port_factory()}"
    with ExitStack() as stack:
        started = [
            subprocess.Popen(
                [sys.executable, HOST, coordinator, str(rank), path / machine, token.hex(), path / "model.npz"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
                text=True,
            )
            for rank, machine in enumerate((FIRST, SECOND))
        ]
        for host in started:
            stack.enter_context(host)
            stack.callback(host.kill)
        hosts = HostProcesses(started)
        channel = LeaderChannel(hosts.addresses, token, timeout_s=60)
        stack.callback(channel.close)
        yield Group(path, hosts, Leader(channel))


def test_two_hosts_draw_with_each_adapter_and_with_none_what_one_draws_and_compile_nothing(group: Group) -> None:
    for name in "abc":  # of which two have a place at a time
        group.put(name, name)
    batch = ["a", "b", "", "c", "b", "", "a"]
    for name, receiver in zip(batch, group.answers(*batch), strict=True):
        assert receiver.token_ids == drawn_by_merged_model(name)
    group.put("a", "d")
    changed, same = group.answers("a", "b")
    assert changed.token_ids == drawn_by_merged_model("d")
    assert same.token_ids == drawn_by_merged_model("b")
    assert group.leader.channel.recompilations == 0


def test_one_that_a_host_does_not_have_fails_alone_and_is_served_once_it_has_it(group: Group) -> None:
    group.put("late", "a", at=(LEADER, FIRST))
    late, plain = group.answers("late", "")
    assert late.finish_reason is FinishReason.ADAPTER_FAILED
    assert late.chunks[-1].error == (
        "the adapter 'late' cannot be loaded: host 1: late: there is no such file or directory. The directory of "
        "adapters must have the same contents on every machine of the group."
    )
    assert plain.token_ids == drawn_by_merged_model("")
    group.put("late", "a", at=(SECOND,))
    late, plain = group.answers("late", "")
    assert late.token_ids == drawn_by_merged_model("a")
    assert plain.token_ids == drawn_by_merged_model("")


def test_one_that_has_other_contents_on_a_host_fails_alone_and_is_served_once_they_are_the_same(group: Group) -> None:
    group.put("apart", "a", at=(LEADER, SECOND))
    group.put("apart", "b", at=(FIRST,))
    group.put("shared", "c")
    apart, shared = group.answers("apart", "shared")
    assert apart.finish_reason is FinishReason.ADAPTER_FAILED
    assert "'apart' cannot be loaded: host 0: its files are others than the leader's" in (apart.chunks[-1].error or "")
    assert shared.token_ids == drawn_by_merged_model("c")
    group.put("apart", "a", at=(FIRST,))
    (apart,) = group.answers("apart")
    assert apart.token_ids == drawn_by_merged_model("a")


def test_one_that_comes_to_all_hosts_after_the_leader_is_served_once_they_have_it(group: Group) -> None:
    group.put("first", "a", at=(LEADER,))
    group.put("first", "b", at=(FIRST, SECOND))
    (first,) = group.answers("first")
    assert first.finish_reason is FinishReason.ADAPTER_FAILED
    assert (first.chunks[-1].error or "").endswith("must have the same contents on every machine of the group.")
    group.put("first", "a", at=(FIRST, SECOND))
    (first,) = group.answers("first")
    assert first.token_ids == drawn_by_merged_model("a")


def test_a_damaged_one_fails_as_on_one_host(group: Group) -> None:
    name = next(iter(peft_tensors(ADAPTERS["a"])))
    group.put("damaged", "a", tensors={name: np.full_like(peft_tensors(ADAPTERS["a"])[name], np.nan)})
    damaged, plain = group.answers("damaged", "")
    error = damaged.chunks[-1].error or ""
    assert error.startswith(f"the adapter 'damaged' cannot be loaded: adapter_model.safetensors: tensor {name} has")
    assert plain.token_ids == drawn_by_merged_model("")


READ, OTHERS = Reading(), Reading("its files are others", is_same=False)


class FakeHosts:
    """Answer as they are told to, one reading after the other."""

    def __init__(self, *answers: Sequence[Reading] | Exception) -> None:
        self._answers = iter(answers)
        self.asked: list[tuple[int, str, str]] = []
        self.forgotten: list[int] = []

    def read(self, read: int, name: str, version: str) -> Sequence[Reading]:
        self.asked.append((read, name, version))
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def forget(self, read: int) -> None:
        self.forgotten.append(read)


def test_one_that_is_replaced_while_the_hosts_read_it_is_read_once_more(tmp_path: Path) -> None:
    (tmp_path / "adapters").mkdir()
    put(tmp_path / "adapters", "a", "a")
    hosts, loaded = FakeHosts([READ, OTHERS], [READ, READ]), list[LoadAdapter]()
    read = HostedAdapters(AdapterDirectory(tmp_path / "adapters"), hosts, loaded.append).read("a")
    read.load(2)
    version = adapter_version(tmp_path / "adapters" / "a")
    assert hosts.asked == [(1, "a", version), (2, "a", version)]
    assert hosts.forgotten == [1]
    assert loaded == [LoadAdapter(number=2, name="a", version=version, read=2)]


def test_what_is_written_over_while_a_host_reads_it_is_not_what_the_leader_has(tmp_path: Path) -> None:
    (tmp_path / "adapters").mkdir()
    put(tmp_path / "adapters", "a", "a")
    version = adapter_version(tmp_path / "adapters" / "a")

    class Overtaken(GroupAdapters):
        def read_at(self, path: Path) -> ReadAdapter:
            put(tmp_path / "adapters", "a", "b")
            return super().read_at(path)

    runner = Mock(limits=LIMITS)
    host = HostAdapters(Overtaken(AdapterDirectory(tmp_path / "adapters"), LOCAL, runner))
    assert not host.read(1, "a", version).is_same
    with pytest.raises(KeyError):
        host.load(LoadAdapter(number=1, name="a", version=version, read=1))


@pytest.mark.parametrize("module", ["serving.group.leader, serving.group.hosted_runner", "serving.group.host"])
def test_a_leader_of_several_hosts_and_the_class_of_its_hosts_import_only_what_they_need_to_start(module: str) -> None:
    needless = {"jax", "sharding.checkpoint", "serving.gateway", "starlette", "fastapi"}
    program = f"import sys, {module}; print(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    imported = subprocess.run([sys.executable, "-c", program], env=environment, check=True, stdout=subprocess.PIPE)
    assert needless.isdisjoint(imported.stdout.decode().split())


def test_what_some_hosts_have_read_is_forgotten_when_one_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "adapters").mkdir()
    put(tmp_path / "adapters", "a", "a")
    hosts = FakeHosts(TimeoutError())
    with pytest.raises(TimeoutError):
        HostedAdapters(AdapterDirectory(tmp_path / "adapters"), hosts, lambda adapter: None).read("a")
    assert hosts.forgotten == [1]
