"""Compiles the shipped configurations for TPU v5e on any Linux machine, and fails where they got worse.

    make tpu-check                            two layers of each, the largest steps: what CI runs
    make tpu-check LAYERS=all                 whole models, every step
    sh scripts/tpu-check.sh --only 2x4 --step decode --details
    LAYERS=all sh scripts/tpu-check.sh --write    commits the figures to compiled/tpu-v5e.json

What it cannot know is in docs/performance.md.
"""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from jax.sharding import Mesh

from compiled import table
from compiled.check import problems
from compiled.chips import mesh_of
from compiled.costs import Costs
from compiled.figures import Figures, figures
from compiled.shipped import Configuration, shipped
from compiled.steps import Step, compile_step, steps_of, telling_steps_of
from serving.models.chip_memory import step_bytes
from sharding.compiler_options import programs_at_once

FEW_LAYERS = 2
_QUANTISED = "codegemma-7b-it int8 on 2x2"
"""With few layers, the only configuration of quantised weights: what they change, they change in all."""


class Result(NamedTuple):
    """What became of one step.

    Attributes:
      name: its key in the table.
      figures: None if it does not compile.
      costs: what they are made of.
      problems: what is wrong with it.
      seconds: until it was compiled.
    """

    name: str
    figures: Figures | None
    costs: Costs | None
    problems: list[str]
    seconds: float


def main() -> None:
    """Compiles, reports, compares or writes."""
    options = _options()
    layers = None if options.layers == "all" else int(options.layers)
    committed = table.read()
    work = _work(options, layers)
    with ThreadPoolExecutor(programs_at_once()) as pool:
        compiling = [
            # The mesh is made in this thread: libtpu does not load in two at once.
            pool.submit(_result, configuration, mesh_of(configuration.model.topology), step, layers, committed)
            for configuration, step in work
        ]
        failed = 0
        for each in compiling:
            result = each.result()
            _report(result, options.details)
            failed += bool(result.problems)
            if options.write and result.figures:  # at once: a whole run takes long
                committed[result.name] = result.figures
                table.write(committed)
    print(f"{len(work)} steps, {time.process_time():.0f} s of processors")
    if failed and not options.write:
        sys.exit(f"{failed} of {len(work)} steps are not what they should be")


def _work(options: argparse.Namespace, layers: int | None) -> list[tuple[Configuration, Step]]:
    configurations = shipped("tpu-v5e", options.quantize)
    if options.quantize:  # the table has them once: several hosts run the programs of one
        configurations = [each for each in configurations if each.model.topology.hosts == 1]
    elif layers is not None:
        configurations += [each for each in shipped("tpu-v5e", "int8") if each.name == _QUANTISED]
    choose = steps_of if layers is None or options.step else telling_steps_of
    return [
        (configuration, step)
        for configuration in configurations
        for step in choose(configuration)
        if options.only in configuration.name and options.step in str(step)
    ]


def _result(configuration: Configuration, mesh: Mesh, step: Step, layers: int | None, committed: table.Table) -> Result:
    name = table.key(configuration.name, step, layers)
    began = time.perf_counter()
    try:
        compiled = compile_step(configuration, mesh, step, layers)
    except Exception as error:  # the compiler's refusals have many types
        reason = f"does not compile: {' '.join(f'{type(error).__name__}: {error}'.split())[:600]}"
        return Result(name, None, None, [reason], time.perf_counter() - began)
    seconds = time.perf_counter() - began
    found, costs = figures(step, compiled)
    reserved = step_bytes(configuration.model, configuration.shape, mesh.size)
    return Result(name, found, costs, list(problems(step, found, committed.get(name), reserved)), seconds)


def _report(result: Result, details: bool) -> None:
    print(f"{result.name} ({result.seconds:.0f} s)")
    if result.figures:
        one = result.figures
        print(
            f"    {one.memory / 1e9:.2f} GB; moves {one.traffic / 1e9:.3f} GB, {one.ratio:.3f} times the minimum; "
            f"{one.copies} copies; {one.collectives} collectives, {one.asynchronous} asynchronous; "
            f"overlap {one.covered:.0%}; "
            f"{one.milliseconds:.2f} ms by the compiler, top-p adds {one.top_p_milliseconds:.2f}; "
            f"{one.floor_milliseconds:.2f} by HBM; "
            f"{one.beside / 1e6:.0f} MB beside weights and cache, program {one.program / 1e6:.0f} MB"
        )
    if result.costs and details:
        for kernel, times in result.costs.kernels.items():
            print(f"    {times} x {kernel}, {result.costs.kernel_vmem[kernel] / 2**20:.1f} MiB of VMEM")
        for copy, times in result.costs.copies.most_common():
            print(f"    {times} x {copy}")
    for problem in result.problems:
        print(f"  WRONG: {problem}")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default=str(FEW_LAYERS), help="of each model, or `all`")
    parser.add_argument("--only", default="", help="configurations whose name has this in it")
    parser.add_argument("--step", default="", help="all steps whose name has this in it")
    parser.add_argument("--quantize", choices=("int8", "int8-weights", "int4"), help="weights of few bits instead")
    parser.add_argument("--details", action="store_true", help="list kernels and copies")
    parser.add_argument("--write", action="store_true", help="commit the figures instead of comparing them")
    return parser.parse_args()


if __name__ == "__main__":
    main()
