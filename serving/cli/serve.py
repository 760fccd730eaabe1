"""`codegemma serve`: the whole service on this machine, until Ctrl-C."""

import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from serving.access.keys import KeyFileError
from serving.cli.ray_token import close_ray_token
from serving.cli.ready_message import print_ready
from serving.cli.serve_file import ServeFile, ServeFileError, demo_file, read_serve_file
from serving.cli.serve_ports import reserve_ports
from serving.gateway.access import access_for
from serving.models.checkpoint_path import checkpoint_path
from serving.servers.ray_environment import FILES, ONE_MACHINE, RAY_ENVIRONMENT
from serving.supervision.memory import wait_for_memory
from serving.supervision.processes import adopt_orphans, end_processes, lost_foundation
from serving.supervision.watch import Watch
from sharding.private_files import UntrustedFileError, private_directory

_TERMS = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms. "
    "By using the model you accept them."
)
_START_LIMIT_HINT = "Ray gives its own processes 15 s to start: if this machine was busy, try again."
_NO_TMP = "Ray has sockets and logs there: mount a /tmp that can be written (docker run --tmpfs /tmp, an emptyDir)."
_RAYS_HOST = "127.0.0.1"
"""Where all of Ray listens, its metrics included: see `ONE_MACHINE`."""
_POLL_S = 0.2
_PATIENCE_S = 30.0
"""And twice the time of the first start: how long a service may have all its processes and not answer."""
_DRAIN_S = 45.0
"""For Ray Serve to end; it gives itself 30 s."""
_SHUTDOWN_S = 15.0
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve(
    config: Annotated[
        Path | None, typer.Option(help="A Ray Serve config file. Default: the embedded demo with Gemma 3 270M.")
    ] = None,
    http_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Listen on this port instead of the file's.")
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Listen on this port instead of the file's.")
    ] = None,
    metrics_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the metrics for Prometheus.")] = 9464,
) -> None:
    """Start the service on this machine and keep it running until Ctrl-C.

    Reads the weights, compiles every step shape (the second start finds them in a cache), then prints how to call
    it. Ctrl-C lets running requests finish, then stops everything it started.
    """
    console = Console(stderr=True)
    try:
        file = read_serve_file(config or demo_file())
        if http_port:
            file = replace(file, http_options={**file.http_options, "port": http_port})
        if grpc_port:
            file = replace(file, grpc_options={**file.grpc_options, "port": grpc_port})
        _check_access(file)
        _check_checkpoints(file)
        reserved = reserve_ports(file, (_RAYS_HOST, metrics_port))
    except ServeFileError as error:
        console.print(f"[red]error:[/] {escape(str(error))}", highlight=False)
        raise typer.Exit(2) from None
    console.print(_TERMS, style="dim", highlight=False)
    signal.signal(signal.SIGTERM, _as_interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, _as_interrupt)  # the terminal is closed
    adopt_orphans()
    environment = dict(os.environ)
    ready = threading.Event()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)  # what came while this process was made; see _start_anew
        code = _run(file, metrics_port, console, ready)
        if ready.is_set():
            _start_anew(console, environment)
    except KeyboardInterrupt:
        code = 0
    finally:
        is_clean = _stop(console, drain=ready.is_set())
        reserved.close()
    if not is_clean:
        os._exit(code)  # when the interpreter ends, Ray waits once more for what is lost
    raise typer.Exit(code)


def _run(file: ServeFile, metrics_port: int, console: Console, ready: threading.Event) -> int:
    """Start, then supervise until interrupted.

    Returns:
      1 if the service failed to start; 0 if it was ready and has to be started anew.
    """
    started = time.monotonic()
    os.environ.update(RAY_ENVIRONMENT | ONE_MACHINE | os.environ)
    close_ray_token()
    try:
        private_directory(FILES)
    except UntrustedFileError as error:
        console.print(f"[red]error:[/] {escape(str(error))}", highlight=False)
        return 1
    except OSError as error:
        console.print(f"[red]error:[/] {FILES} cannot be made: {error.strerror}. {_NO_TMP}", highlight=False)
        return 1
    with console.status("Starting Ray"):
        import ray

        # Ray waits for its processes for seconds; what is needed next is imported meanwhile.
        importing = threading.Thread(target=import_module, args=("serving.app",))
        importing.start()
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        try:
            ray.init(
                address="local",  # not a cluster that happens to be on this machine
                num_cpus=max(file.cpus, os.cpu_count() or 1),  # logical: the small actors of the service mostly wait
                include_dashboard=False,
                _metrics_export_port=metrics_port,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # Ray has no class for it
            console.print(
                f"[red]error:[/] Ray did not start: {escape(str(error))}\n{_START_LIMIT_HINT} Logs: {_session()}",
                highlight=False,
            )
            return 1
        signal.signal(signal.SIGTERM, _as_interrupt)  # after ray.init, which has set a handler of its own
        # Ray prints a page for each process that it loses; the watch says it in a line, and Ray's logs have the page.
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
        importing.join()
        from ray import serve as ray_serve

        try:
            ray_serve.start(
                http_options=dict(file.http_options),
                grpc_options=dict(file.grpc_options),
                logging_config=dict(file.logging_config),
            )
        except Exception as error:  # as above: its controller or a proxy was lost
            reason = escape(_why_serve_did_not_start(str(error)))
            console.print(f"[red]error:[/] Ray Serve did not start: {reason}\nLogs: {_logs()}", highlight=False)
            return 1
    from serving.supervision.probe import Probe
    from serving.supervision.supervise import supervise

    failure = _deploy(file, console)
    if failure is not None:
        console.print(f"[red]error:[/] the service did not start.\n{escape(failure)}\nLogs: {_logs()}", highlight=False)
        return 1
    ready.set()
    print_ready(file, f"http://{_RAYS_HOST}:{metrics_port}/metrics", _logs(), Console())
    probe = Probe(file.http_address, file.grpc_address)
    patience_s = _PATIENCE_S + 2 * (time.monotonic() - started)
    supervise(probe, Watch(patience_s), partial(_say, console))  # until a signal raises KeyboardInterrupt
    return 0


def _start_anew(console: Console, environment: Mapping[str, str]) -> None:
    """Become a new `codegemma serve`, once nothing is left of this one. Does not return."""
    end_processes()
    wait_for_memory(partial(_say, console))
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)  # until the new one can end well
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def _say(console: Console, line: str) -> None:
    console.print(f"{time.strftime('%H:%M:%S')} {escape(line)}", highlight=False, soft_wrap=True)


def _deploy(file: ServeFile, console: Console) -> str | None:
    """Run the application, showing each model's start-up. Returns why it failed, or None."""
    from ray import serve as ray_serve

    from serving.app import build
    from serving.group.progress import read

    outcome: list[str] = []

    def run() -> None:
        try:
            ray_serve.run(build(file.args), name=file.name, route_prefix="/")
        except Exception as error:  # Ray raises plain RuntimeErrors here; all of them mean the same
            outcome.append(_last_line(str(error)))

    deploying = threading.Thread(target=run, daemon=True)
    deploying.start()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        starting = bars.add_task("starting replicas", total=None)
        phases: dict[str, TaskID] = {}
        while deploying.is_alive():
            deploying.join(_POLL_S)
            if lost := lost_foundation():
                return f"Lost: {', '.join(lost)}. Ray cannot go on without."
            for progress in read():
                phase = f"{progress.model}: {progress.phase}"
                if phase not in phases:
                    bars.update(starting, visible=False)
                    phases[phase] = bars.add_task(phase)
                    if not console.is_terminal:
                        console.print(phase)
                bars.update(phases[phase], completed=progress.done, total=progress.total)
    return outcome[0] if outcome else None


def _session() -> Path:
    return Path(os.environ["RAY_TMPDIR"]) / "ray" / "session_latest"


def _logs() -> Path:
    return _session() / "logs" / "serve"


def _stop(console: Console, *, drain: bool) -> bool:
    """End every process that was started; a second Ctrl-C does not interrupt this.

    Args:
      console: for what it says.
      drain: let requests end first. A service that never was ready has none, and Ray Serve would wait until it is.

    Returns:
      Whether Ray ended as it should. It waits without a limit for parts of it that are lost.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if "ray" not in sys.modules:
        return True
    try:
        is_clean = _stop_ray(console, drain=drain)
    finally:  # whatever happens to a terminal that is closed
        end_processes()
    console.print("Stopped.")
    return is_clean


def _stop_ray(console: Console, *, drain: bool) -> bool:
    import ray
    from ray import serve as ray_serve

    if not ray.is_initialized():
        return True
    if lost_foundation():
        return False
    with console.status("Draining"):
        return (not drain or _within(_DRAIN_S, ray_serve.shutdown)) and _within(_SHUTDOWN_S, ray.shutdown)


def _within(seconds: float, end: Callable[[], None]) -> bool:
    """Whether this has ended well, and in time."""
    has_ended = threading.Event()

    def run() -> None:
        with suppress(Exception):  # Ray has no class for what goes wrong where parts of it are lost
            end()
            has_ended.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return has_ended.is_set()


def _check_access(file: ServeFile) -> None:
    try:
        access_for(file.config.gateway, file.http_address[0])
    except (KeyFileError, ValueError) as error:
        raise ServeFileError(f"{file.path}: {error}") from None


def _check_checkpoints(file: ServeFile) -> None:
    """Finds out before Ray starts that one cannot be read, or a package's not be kept."""
    for model in file.config.models:
        try:
            checkpoint_path(model.checkpoint)
        except FileNotFoundError:
            continue  # whoever opens it says so
        except (OSError, ValueError) as error:
            raise ServeFileError(f"{file.path}: models.{model.id}: {error}") from None


def _why_serve_did_not_start(text: str) -> str:
    """HAProxy's own words, or the first line: what follows is advice for writing Ray programs."""
    haproxy = re.search(r"\[ALERT\] *\(\d+\) : (.+)", text) or re.search(r"HAProxy crashed during startup: (.+)", text)
    return f"HAProxy: {haproxy[1]}" if haproxy else text.strip().partition("\n")[0]


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _as_interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
