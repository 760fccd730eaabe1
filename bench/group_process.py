"""One process of a replica group without Ray: its leader, or one of its hosts.

    python -m bench.group_process host MODEL RANK COORDINATOR TOKEN
    python -m bench.group_process leader MODEL TOKEN HOST...

MODEL is a `ModelConfig` in JSON, HOST what a host has written. Each writes a line of JSON once it is ready. A leader
then answers every line of its input with the state of its engine; both end with their input.
"""

import dataclasses
import json
import os
import sys
import threading
from contextlib import ExitStack

from serving.config import ModelConfig
from serving.engine.engine import Engine
from serving.engine.loop import EngineThread
from serving.group.channel import HostChannel, LeaderChannel
from serving.group.runner import GroupRunner
from serving.group.server import GroupServer
from sharding.step import Limits

_IP = "127.0.0.1"


def _host(model: ModelConfig, rank: int, coordinator: str, token: bytes) -> None:
    from serving.group.loading import load_local_runner
    from sharding.mesh import join_hosts, use_devices

    channel = HostChannel(_IP, token)
    use_devices(model.topology.platform, cpu_devices=model.topology.chips_per_host)
    join_hosts(coordinator, model.topology.hosts, rank)
    runner = load_local_runner(model, lambda phase, done, total: None)
    _say({"address": channel.address, "limits": dataclasses.asdict(runner.limits)})
    threading.Thread(target=_end_with_input, daemon=True).start()
    channel.follow(runner, answers_tokens=rank == 0)


def _leader(model: ModelConfig, token: bytes, hosts: list[str]) -> None:
    runner = _runner(model, token, [json.loads(host) for host in hosts])
    engine = Engine(runner, max_queue=model.limits.max_queue)
    server = GroupServer(engine, _IP)
    EngineThread(engine, after_step=server.after_step).start()
    _say(server.start().to_metadata())
    for _ in sys.stdin:
        _say(dataclasses.asdict(engine.stats()) | {"recompilations": runner.recompilations})
    os._exit(0)


def _runner(model: ModelConfig, token: bytes, hosts: list[dict[str, object]]) -> GroupRunner:
    if not hosts:
        from serving.group.loading import load_local_runner

        return load_local_runner(model, lambda phase, done, total: None)
    from serving.group.hosted_runner import HostedRunner

    limits = Limits(**hosts[0]["limits"])  # type: ignore[arg-type]
    channel = LeaderChannel([tuple(host["address"]) for host in hosts], token, model.step_timeout_s)  # type: ignore[arg-type, misc]
    return HostedRunner(limits, 1.0, [], channel, model.step_timeout_s, ExitStack())


def _say(message: dict[str, object]) -> None:
    os.write(_answers, f"{json.dumps(message)}\n".encode())


def _end_with_input() -> None:
    for _ in sys.stdin:
        pass
    os._exit(0)


if __name__ == "__main__":
    _answers = os.dup(1)
    os.dup2(2, 1)  # where Gloo writes, too
    match sys.argv[1:]:
        case ["host", model, rank, coordinator, token]:
            _host(ModelConfig.model_validate_json(model), int(rank), coordinator, bytes.fromhex(token))
        case ["leader", model, token, *hosts]:
            _leader(ModelConfig.model_validate_json(model), bytes.fromhex(token), hosts)
