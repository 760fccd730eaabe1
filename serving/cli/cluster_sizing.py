"""`codegemma cluster sizing`: machines and money for so many developers. Needs no cluster."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from serving.cli.cluster_connection import JsonOption, print_json
from serving.cli.errors import say_error
from serving.cli.serve_file import ServeFileError, read_serve_file
from serving.cluster.chips import CHIPS, PRICES_OF, Chip
from serving.cluster.errors import ClusterError
from serving.cluster.habits import Goals, Habits
from serving.cluster.manifests import read_manifests
from serving.cluster.rendered import config_of
from serving.cluster.shapes import shape_of
from serving.cluster.simulated import HOURS, START_S, Service, simulate_model
from serving.cluster.sizing import ModelSize, Plan, size_model, size_usual_models
from serving.config import ModelConfig, Role, ServingConfig

_HABITS = Habits()
_GOALS = Goals()
_USUAL_CHIP = "v5e"
_OF_PLATFORM = {"tpu": "v5e", "cpu": "2-cores"}
"""The only ones of their kind; GPUs differ."""


def sizing(
    users: Annotated[int, typer.Option("--users", "-u", min=1, help="Developers, all active at the busiest time.")],
    keystrokes_per_minute: Annotated[
        float, typer.Option(min=0.1, help="Keystrokes a minute of one active developer, pauses included.")
    ] = _HABITS.keystrokes_per_minute,
    keystrokes_per_request: Annotated[
        float, typer.Option(min=1, help="Keystrokes for each request: editors ask when typing pauses, not at each key.")
    ] = _HABITS.keystrokes_per_request,
    chats_per_hour: Annotated[
        float, typer.Option(min=0, help="Chats an hour of one active developer.")
    ] = _HABITS.chats_per_hour,
    fim_tokens: Annotated[
        tuple[int, int],
        typer.Option(min=1, help="Tokens of a completion: prompt and generated.", metavar="PROMPT GENERATED"),
    ] = _HABITS.tokens[Role.FIM],
    chat_tokens: Annotated[
        tuple[int, int], typer.Option(min=1, help="Tokens of a chat: prompt and generated.", metavar="PROMPT GENERATED")
    ] = _HABITS.tokens[Role.CHAT],
    cached: Annotated[
        float, typer.Option(min=0, max=1, help="Part of a completion's prompt that is in the prefix cache.")
    ] = _HABITS.cached,
    fim_goal: Annotated[
        tuple[float, float],
        typer.Option(
            min=0.001,
            help="Goal of completions, for 95 of 100: longest time to the first token, lowest tokens/s after it.",
            metavar="SECONDS TOKENS/S",
        ),
    ] = (_GOALS.first_token_s[Role.FIM], _GOALS.tokens_per_s[Role.FIM]),
    chat_goal: Annotated[
        tuple[float, float], typer.Option(min=0.001, help="The same goal of chats.", metavar="SECONDS TOKENS/S")
    ] = (_GOALS.first_token_s[Role.CHAT], _GOALS.tokens_per_s[Role.CHAT]),
    chip: Annotated[
        str | None,
        typer.Option(
            help=f"One of {', '.join(CHIPS)}.", show_default=f"that of --config, or {_USUAL_CHIP}", metavar="CHIP"
        ),
    ] = None,
    efficiency: Annotated[
        float, typer.Option(min=0.01, max=1, help="Part of the data sheet's bandwidth and operations that is achieved.")
    ] = 0.5,
    price: Annotated[
        float | None,
        typer.Option(min=0, help="Dollars per chip and hour.", show_default=f"an assumption of {PRICES_OF}"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="Size the models of this Ray Serve config file, or of the rendered chart (file, directory, or - for "
            "stdin), instead of CodeGemma 2B and 7B-IT.",
        ),
    ] = None,
    model_config: Annotated[
        Path | None, typer.Option(help="Hugging Face config.json of a model whose checkpoint is not on this machine.")
    ] = None,
    simulate: Annotated[
        bool,
        typer.Option("--simulate", help="Simulate the autoscaling of --config with a morning of these developers."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Estimate the groups, machines and money that meet the goals, with the arithmetic.

    An estimate from data sheets, not a measurement: check it with load on one group before you buy. Exit status 1 if a
    model of --config needs more groups than it may have there, or misses its goals with --simulate.
    """
    if chip is not None and chip not in CHIPS:
        raise typer.BadParameter(f"{chip!r} is not one of {', '.join(CHIPS)}", param_hint="--chip")
    habits = Habits(
        keystrokes_per_minute=keystrokes_per_minute,
        keystrokes_per_request=keystrokes_per_request,
        chats_per_hour=chats_per_hour,
        tokens={Role.FIM: fim_tokens, Role.CHAT: chat_tokens},
        cached=cached,
    )
    goals = Goals(
        first_token_s={Role.FIM: fim_goal[0], Role.CHAT: chat_goal[0]},
        tokens_per_s={Role.FIM: fim_goal[1], Role.CHAT: chat_goal[1]},
    )
    plan = Plan(users=users, habits=habits, goals=goals, efficiency=efficiency, price=price)
    if simulate and config is None:
        raise typer.BadParameter("simulates the autoscaling of a file: give --config too", param_hint="--simulate")
    trials: dict[str, dict[Role, Service]] = {}
    try:
        if config is None:
            sizes = size_usual_models(CHIPS[chip or _USUAL_CHIP], plan)
        else:
            serving, chips = _configured(config)
            sizes = _sizes(serving, model_config, chips if chip is None else [CHIPS[chip]], plan)
            trials = _trials(serving, sizes, plan) if simulate else {}
    except (ServeFileError, ClusterError, ValueError) as error:
        say_error(str(error))
        raise typer.Exit(2) from None
    if as_json:
        print_json(
            [asdict(size) | {"simulated": {role: _finite(got) for role, got in _of(trials, size)}} for size in sizes]
        )
    else:
        _print(sizes, trials, plan)
    faults = [] if config is None else [fault for size in sizes for fault in _faults(size, trials, goals)]
    for fault in faults:
        say_error(fault)
    raise typer.Exit(1 if faults else 0)


def _faults(size: ModelSize, trials: Mapping[str, Mapping[Role, Service]], goals: Goals) -> Iterator[str]:
    """What keeps a configured model from its goals."""
    if size.groups > size.configured:
        yield (
            f"models.{size.model} needs {size.groups} groups and may have {size.configured}. Raise its replicas or "
            "autoscaling.max_replicas, and its worker group."
        )
    for role, got in _of(trials, size):
        if not got.meets(goals, role):
            yield (
                f"models.{size.model}: {role} gets {got} in the simulation. Raise replicas or "
                "autoscaling.min_replicas, or lower limits.max_rows: groups are started when rows are full."
            )


def _of(trials: Mapping[str, Mapping[Role, Service]], size: ModelSize) -> Sequence[tuple[Role, Service]]:
    return list(trials.get(size.model, {}).items())


def _finite(got: Service) -> dict[str, float | None]:
    """JSON has no infinity."""
    return {name: value if isfinite(value) else None for name, value in asdict(got).items()}


def _trials(config: ServingConfig, sizes: Sequence[ModelSize], plan: Plan) -> dict[str, dict[Role, Service]]:
    with Console(stderr=True).status("Simulating a morning"):
        return {
            model.id: simulate_model(model, size, _shares(config, model.id, model.roles), plan)
            for model, size in zip(config.models, sizes, strict=True)
        }


def _configured(path: Path) -> tuple[ServingConfig, list[Chip]]:
    """The configuration of a file, and the kinds of chips that it names."""
    if str(path) == "-" or path.is_dir() or _is_manifest(path):
        return config_of(read_manifests(str(path)), str(path))
    return read_serve_file(path).config, []


def _is_manifest(path: Path) -> bool:
    try:
        return any(isinstance(each, dict) and "kind" in each for each in yaml.safe_load_all(path.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False  # the reader reports what is wrong


def _sizes(config: ServingConfig, model_config: Path | None, chips: Sequence[Chip], plan: Plan) -> list[ModelSize]:
    return [
        size_model(
            model,
            shape_of(model, model_config),
            _chip_of(model, chips),
            _shares(config, model.id, model.roles),
            plan,
        )
        for model in config.models
    ]


def _chip_of(model: ModelConfig, chips: Sequence[Chip]) -> Chip:
    """The chip that a model's groups run on: of the chips that are named, the one of its platform."""
    platform = model.topology.platform
    fitting = [chip for chip in chips if chip.platform == platform]
    if not fitting and platform in _OF_PLATFORM and not chips:
        return CHIPS[_OF_PLATFORM[platform]]
    if len(fitting) != 1 and (fitting or not chips):
        named = ", ".join(chip.name for chip in CHIPS.values() if chip.platform == platform)
        raise ValueError(
            f"models.{model.id} runs on {platform.upper()}s, and the file does not say which. Name it with "
            f"--chip: {named}."
        )
    return fitting[0] if fitting else chips[0]


def _shares(config: ServingConfig, model: str, roles: Sequence[Role]) -> dict[Role, float]:
    """The part of each role's requests that `routing` sends to a model."""
    shares = {}
    for role in roles:
        route = config.routing.roles.get(role)
        shares[role] = route.models.get(model, 0.0) / sum(route.models.values()) if route else 1.0
    return shares


def _print(sizes: Sequence[ModelSize], trials: Mapping[str, Mapping[Role, Service]], plan: Plan) -> None:
    console = Console()
    for size in sizes:
        table = Table(box=None, show_header=False, pad_edge=False, title=size.model, title_justify="left")
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(style="dim", overflow="fold")
        table.add_column(justify="right", no_wrap=True)
        for step in size.steps:
            table.add_row(step.what, step.how, step.result)
        for role, got in _of(trials, size):
            how = f"the slowest hour from {HOURS[0]} to {HOURS[1]}, a group starts in {START_S:.0f} s"
            table.add_row(f"{role}: simulated", how, str(got))
        console.print(table, highlight=False)
        console.print()
    counts: Counter[str] = Counter()
    for size in sizes:
        counts[size.machine] += size.machines
    machines = ", ".join(f"{count} {machine}" for machine, count in counts.items())
    console.print(f"[bold]{escape(machines)}[/], {_dollars(sizes)}", highlight=False)
    console.print(_caveat(plan), style="yellow", highlight=False)


def _dollars(sizes: Sequence[ModelSize]) -> str:
    always, autoscaled = sum(size.dollars for size in sizes), sum(size.dollars_autoscaled for size in sizes)
    return f"${always:,.0f} a month; ${autoscaled:,.0f} with autoscaling"


def _caveat(plan: Plan) -> str:
    price = (
        f"Prices of chips are assumptions of {PRICES_OF}: set --price."
        if plan.price is None
        else f"The price is yours: ${plan.price:g} per chip and hour."
    )
    return (
        f"An estimate, not a measurement: {plan.efficiency:.0%} of data sheets (--efficiency), typing and token counts "
        f"as assumed above, the office day of simulate-autoscaling. {price} Head, Gateways, storage and network are "
        "not included."
    )
