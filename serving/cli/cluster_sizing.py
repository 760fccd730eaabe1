"""`codegemma cluster sizing`: from people who type to chips and money. Needs no cluster."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from serving.cli.cluster_connection import JsonOption, print_json
from serving.cli.errors import say_error
from serving.cli.serve_file import ServeFileError, read_serve_file
from serving.cluster.chips import CHIPS, PRICES_OF
from serving.cluster.sizing import Habits, ModelSize, Plan, shape_of, size_model, size_usual_models
from serving.config import Role, ServingConfig

_HABITS = Habits()


def sizing(
    users: Annotated[int, typer.Option("--users", "-u", min=1, help="Developers, all at work at the busiest time.")],
    keystrokes_per_minute: Annotated[
        float, typer.Option(min=0.1, help="Of one developer at work, pauses included.")
    ] = _HABITS.keystrokes_per_minute,
    keystrokes_per_request: Annotated[
        float, typer.Option(min=1, help="Editors ask when typing pauses, not at each key.")
    ] = _HABITS.keystrokes_per_request,
    chats_per_hour: Annotated[float, typer.Option(min=0, help="Of one developer at work.")] = _HABITS.chats_per_hour,
    fim_tokens: Annotated[
        tuple[int, int], typer.Option(min=1, help="Of a completion: prompt and generated.", metavar="PROMPT GENERATED")
    ] = _HABITS.tokens[Role.FIM],
    chat_tokens: Annotated[
        tuple[int, int], typer.Option(min=1, help="Of a chat request.", metavar="PROMPT GENERATED")
    ] = _HABITS.tokens[Role.CHAT],
    cached: Annotated[
        float, typer.Option(min=0, max=1, help="Part of a completion's prompt that its group still has.")
    ] = _HABITS.cached,
    chip: Annotated[str, typer.Option(help=f"One of {', '.join(CHIPS)}.")] = "v5e",
    efficiency: Annotated[
        float, typer.Option(min=0.01, max=1, help="Part of the data sheet's bandwidth and operations that is reached.")
    ] = 0.5,
    price: Annotated[
        float | None,
        typer.Option(min=0, help="Dollars for a chip and hour.", show_default=f"an assumption of {PRICES_OF}"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="The models of this Ray Serve config file, instead of CodeGemma 2B and 7B-IT."
        ),
    ] = None,
    model_config: Annotated[
        Path | None, typer.Option(help="A Hugging Face config.json: the shape of a model whose checkpoint is not here.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Estimate requests, groups, chips, memory and money, with the arithmetic.

    An estimate from data sheets, not a measurement: check it with load on one group before you buy.
    """
    if chip not in CHIPS:
        raise typer.BadParameter(f"{chip!r} is not one of {', '.join(CHIPS)}", param_hint="--chip")
    habits = Habits(
        keystrokes_per_minute=keystrokes_per_minute,
        keystrokes_per_request=keystrokes_per_request,
        chats_per_hour=chats_per_hour,
        tokens={Role.FIM: fim_tokens, Role.CHAT: chat_tokens},
        cached=cached,
    )
    kind = CHIPS[chip]
    plan = Plan(
        users=users, habits=habits, chip=kind, efficiency=efficiency, price=kind.price if price is None else price
    )
    try:
        serving = read_serve_file(config).config if config else None
        sizes = _sizes(serving, model_config, plan) if serving else size_usual_models(plan)
    except (ServeFileError, ValueError) as error:
        say_error(str(error))
        raise typer.Exit(2) from None
    if as_json:
        print_json([asdict(size) for size in sizes])
    else:
        _print(sizes, plan, price_is_assumed=price is None)


def _sizes(config: ServingConfig, model_config: Path | None, plan: Plan) -> list[ModelSize]:
    return [
        size_model(model, shape_of(model, model_config), _shares(config, model.id, model.roles), plan)
        for model in config.models
    ]


def _shares(config: ServingConfig, model: str, roles: Sequence[Role]) -> dict[Role, float]:
    """The part of each role's requests that a model answers, as `routing` deals them out."""
    shares = {}
    for role in roles:
        route = config.routing.roles.get(role)
        shares[role] = route.models.get(model, 0.0) / sum(route.models.values()) if route else 1.0
    return shares


def _print(sizes: Sequence[ModelSize], plan: Plan, *, price_is_assumed: bool) -> None:
    console = Console()
    for size in sizes:
        table = Table(box=None, show_header=False, pad_edge=False, title=size.model, title_justify="left")
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(style="dim", overflow="fold")
        table.add_column(justify="right", no_wrap=True)
        for step in size.steps:
            table.add_row(step.what, step.how, step.result)
        console.print(table, highlight=False)
        console.print()
    chips = sum(size.groups * size.chips for size in sizes)
    console.print(f"[bold]{chips} {plan.chip.name}[/], {_dollars(sizes)}", highlight=False)
    console.print(_caveat(plan, price_is_assumed), style="yellow", highlight=False)


def _dollars(sizes: Sequence[ModelSize]) -> str:
    always, autoscaled = sum(size.dollars for size in sizes), sum(size.dollars_autoscaled for size in sizes)
    return f"${always:,.0f} a month; ${autoscaled:,.0f} with autoscaling"


def _caveat(plan: Plan, price_is_assumed: bool) -> str:
    price = f"${plan.price:g} for a chip and hour"
    price += f" is an assumption of {PRICES_OF}: set --price" if price_is_assumed else " is what you gave"
    return (
        f"An estimate, not a measurement: {plan.efficiency:.0%} of the data sheet of {plan.chip.name} "
        f"(--efficiency), typing and token counts as assumed above, the office day of simulate-autoscaling. {price}. "
        "Head, Gateways, storage and network are not in it."
    )
