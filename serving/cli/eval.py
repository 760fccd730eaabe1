"""`codegemma eval`: how well a served model writes code, and whether another one is no worse."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from serving.cli.errors import say_error, say_note
from serving.cli.eval_run import run
from serving.cli.options import DEFAULT_URL, ApiKeyOption, UrlOption

eval = typer.Typer(name="eval", help="Score models on published benchmarks, and compare them.", no_args_is_help=True)
eval.command(name="run")(run)


@eval.command()
def tasks(
    data: Annotated[Path | None, typer.Option(help="A folder with the benchmarks' files.", file_okay=False)] = None,
) -> None:
    """List the sets of tasks, the sources of their data, and what is missing on this machine."""
    from rich.table import Table

    from serving.evaluation.task_sets.catalogue import TASK_SETS
    from serving.evaluation.task_sets.task_set import DataError
    from serving.evaluation.toolchains import MissingToolchainError, find_toolchain

    table = Table("set", "language", "data", "here", box=None, header_style="bold")
    table.columns[0].style = "cyan"
    for each in TASK_SETS.values():
        missing = []
        try:
            find_toolchain(each.language)
        except MissingToolchainError as error:
            missing.append(str(error))
        try:
            if data is not None:
                each.find(data)
        except DataError:
            missing.append(f"no {each.file}")
        table.add_row(each.name, each.language, f"{each.file} of {each.source}", "; ".join(missing) or "ready")
    Console(soft_wrap=True).print(table)


@eval.command()
def compare(
    a: Annotated[Path, typer.Argument(help="The directory of a run.", exists=True, file_okay=False)],
    b: Annotated[
        Path, typer.Argument(help="The directory of another run over the same tasks.", exists=True, file_okay=False)
    ],
    margin: Annotated[
        float,
        typer.Option(min=0.1, max=50, help="Percentage points by which b may be lower and still count as no worse."),
    ] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two runs task by task: two models, ways to quantise, or adapters."""
    from rich.table import Table

    from serving.evaluation.comparison import as_json as comparison_json
    from serving.evaluation.comparison import conclusion, differing_settings, left_out, pair
    from serving.evaluation.performance import Performance
    from serving.evaluation.run_directory import RunDirectory
    from serving.evaluation.run_error import RunError

    runs = [RunDirectory(path) for path in (a, b)]
    try:
        settings = [each.settings() for each in runs]
        results = [each.results.read() for each in runs]
    except RunError as error:
        say_error(str(error))
        raise typer.Exit(1) from None
    pairs = []
    for name in dict.fromkeys(each.task_set for each in results[0]):
        data = [each.get("data_sha256", {}).get(name) for each in settings]
        if data[1] and data[0] != data[1]:
            say_error(f"{name}: the two runs are of different files. Evaluate both with the same --data.")
            raise typer.Exit(1)
        first, second = ([result for result in of if result.task_set == name] for of in results)
        found = pair(name, first, second, margin / 100)
        pairs += [found] if found else []
    if not pairs:
        say_error(f"{a} and {b} have no task in common that both have done.")
        raise typer.Exit(1)
    differing, missing = differing_settings(*settings), left_out(*results)
    if as_json:
        typer.echo(json.dumps(comparison_json(pairs, differing, missing), indent=2))
        return
    console = Console(soft_wrap=True)
    names = [
        f"{name}: {path}, {each['model']}, version {each.get('model_version')}"
        for name, each, path in zip("AB", settings, (a, b), strict=True)
    ]
    table = Table("set", "tasks", "A", "B", "B - A in points", "only A", "only B", box=None, pad_edge=False)
    for each in pairs:
        table.add_row(
            *(each.name, str(each.tasks), f"{each.first / each.tasks:.1%}", f"{each.second / each.tasks:.1%}"),
            f"{100 * each.difference:+.1f} ({100 * each.low:+.1f} to {100 * each.high:+.1f})",
            *(str(each.only_first), str(each.only_second)),
        )
    console.print("\n".join(names), highlight=False, markup=False)
    console.print(table)
    for each in pairs:
        console.print(f"{each.name}: {each.sentence()} (McNemar's p {each.p:.3f})", highlight=False, markup=False)
    speed = Table("speed", "A", "B", box=None, pad_edge=False)
    for (name, first), (_, second) in zip(*(Performance.of(each).rows() for each in results), strict=True):
        speed.add_row(name, first, second)
    console.print(speed)
    for note in (*(f"The runs differ in {difference}" for difference in differing), *missing):
        say_note(note)
    console.print(conclusion(pairs), style="bold", highlight=False, markup=False)


@eval.command()
def lm_eval(
    tasks: Annotated[
        list[str] | None,
        typer.Argument(help="Tasks or groups of lm-eval. Default: those of the model card.", show_default=False),
    ] = None,
    url: UrlOption = DEFAULT_URL,
    api_key: ApiKeyOption = "",
    model: Annotated[str, typer.Option("--model", "-m", help="A model of `codegemma models`.")] = "",
    out: Annotated[str, typer.Option(help="Directory for lm-eval's results.")] = "lm-eval",
) -> None:
    """Print the lm-evaluation-harness command that runs the model card's other benchmarks on a running server.

    It is a program of its own: pip install "lm-eval[api]"; its tasks' data come from the Hugging Face Hub.
    """
    import shlex

    from serving.cli.client import connected
    from serving.evaluation.lm_eval import TASKS, lm_eval_command

    with connected(url, api_key) as client:
        models = {each["id"]: each for each in client.models()}
    chosen = model or next(iter(models), "")
    if chosen not in models:
        say_error(f"{url} does not serve '{chosen}' but {', '.join(models)}: choose with --model.")
        raise typer.Exit(1)
    context = int(models[chosen].get("context_length") or 8192)
    typer.echo(shlex.join(lm_eval_command(url, chosen, context, tasks or list(TASKS), out)))
