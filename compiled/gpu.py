"""Compiles the shipped configurations for H100, on any Linux machine, and fails where they do not fit.

    make gpu-check               two layers of each, the smallest and the largest steps: what CI runs
    make gpu-check LAYERS=all    whole models, every step

XLA compiles to machine code, ptxas included, and refuses a Pallas kernel that takes more shared memory than there is.
A decode step must be one CUDA graph, which the host launches and leaves alone. The compiler says nothing of time, and
chooses products without trying them, as it would on a GPU.
"""

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from compiled.chips import mesh_of
from compiled.shipped import Configuration, shipped
from compiled.steps import Step, compile_step, smallest_and_largest, steps_of
from compiled.thunks import dump_thunks, take_thunks
from serving.models.chip_memory import step_bytes

FEW_LAYERS = 2
_KERNEL = 'custom_call_target="__gpu$xla.gpu.triton"'


def main() -> None:
    """Compiles and reports; exits with 1 if a step is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default=str(FEW_LAYERS), help="of each model, or `all`")
    options = parser.parse_args()
    layers = None if options.layers == "all" else int(options.layers)
    choose = list if layers is None else smallest_and_largest
    failed = 0
    with TemporaryDirectory() as directory:
        dump_thunks(Path(directory), "jit_decode")
        for configuration in shipped("gpu"):
            for step in choose(steps_of(configuration)):
                began = time.perf_counter()
                found, problems = _check(configuration, step, layers, Path(directory))
                print(f"{configuration.name} | {step} ({time.perf_counter() - began:.0f} s)\n    {found}")
                for problem in problems:
                    print(f"  WRONG: {problem}")
                sys.stdout.flush()
                failed += bool(problems)
    if failed:
        sys.exit(f"{failed} steps are not what they should be")


def _check(configuration: Configuration, step: Step, layers: int | None, thunks: Path) -> tuple[str, list[str]]:
    """Returns what a step is, and what is wrong with it; the compiler writes to `thunks`."""
    topology = configuration.model.topology
    try:
        compiled = compile_step(configuration, mesh_of(topology), step, layers)
    except Exception as error:  # the compiler's refusals have many types
        return "", [f"does not compile: {' '.join(f'{type(error).__name__}: {error}'.split())[:600]}"]
    memory = compiled.executable.memory_analysis()
    assert memory is not None  # XLA's GPU compiler has one
    kernels = (compiled.executable.as_text() or "").count(_KERNEL)
    cache = compiled.layer_cache_bytes * compiled.num_layers
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    beside = memory.temp_size_in_bytes + results
    reserved = step_bytes(configuration.model, configuration.shape, topology.tensor_parallel)
    problems = []
    if kernels < compiled.num_layers:
        problems.append(f"has {kernels} Pallas kernels for {compiled.num_layers} layers: attention is not ours")
    if memory.alias_size_in_bytes < cache:
        problems.append(f"copies the KV cache: {memory.alias_size_in_bytes} of {cache} bytes are aliased")
    if beside > reserved:
        problems.append(f"takes {beside / 1e6:.1f} MB beside weights and cache, sizing keeps {reserved / 1e6:.1f} MB")
    if step.is_decode and (kinds := take_thunks(thunks)) != {"kCommandBuffer": 1}:
        problems.append(f"is not one CUDA graph but {dict(kinds)}: the host decides on rounds and branches")
    return f"{kernels} Pallas kernels; {beside / 1e6:.1f} MB beside weights and cache", problems


if __name__ == "__main__":
    main()
