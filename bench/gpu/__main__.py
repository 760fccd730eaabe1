"""Checks and measures the model on the first accelerator that JAX sees: `python -m bench.gpu --report gpu.md`.

First accuracy: logits against the same model on the CPU in float32, draws against the CPU's, loops against steps, and
the attention kernels against the reference in float32. Then speed with CodeGemma's shapes and random weights: decode,
prefill, the host's part of a step, and what the device does in one. `--tiny` runs the same code with small shapes, on
any machine.

It ends within `--minutes`: what no time is left for is skipped, and named in the report.
"""

import argparse
import sys
import time
from pathlib import Path

import jax

from bench.gpu.accuracy import (
    ATTENTION_HEADS,
    FAILS,
    compare_adapters,
    compare_attention,
    compare_logits,
    compare_loops,
    compare_sampling,
)
from bench.gpu.model import FORMATS, SHAPES, small
from bench.gpu.report import Report
from bench.gpu.speed import DECODE, FEW_DECODE, PREFILL, compare_with_reference, measure_adapters, measure_model
from sharding.bandwidth import memory_bandwidth


def main() -> None:
    """Prints the report, and writes it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="small shapes, to try this on any machine")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report there too")
    parser.add_argument("--minutes", type=float, default=6.0, help="skip what would take longer")
    options = parser.parse_args()
    report = Report(options.report, time.monotonic() + 60 * options.minutes)
    device = jax.devices()[0]
    shapes = {name: small(config) if options.tiny else config for name, config in SHAPES.items()}

    limit = memory_bandwidth([device], size=(1 << 26) if options.tiny else (1 << 31))
    report.add(
        f"Device: {device.device_kind} ({device.platform}), jax {jax.__version__}, copies {limit / 1e9:.0f} GB/s."
    )
    check(report, device, tiny=options.tiny)
    for weights, quantization in FORMATS.items():
        for name, config in shapes.items():
            if report.has_time(60, f"speed of {name} in {weights}"):
                few = quantization is not None
                decode, prefill = (FEW_DECODE, PREFILL[1:2]) if few else (DECODE, PREFILL)
                with report.timed(name):
                    measure_model(
                        report, f"{name}, {weights}", config.quantised(quantization), device, limit, decode, prefill
                    )
    for name, config in shapes.items():
        if report.has_time(40, f"adapters of {name}"):
            measure_adapters(report, name, config, device)
    for name, config in shapes.items():
        if report.has_time(45, f"reference attention of {name}"):
            compare_with_reference(report, name, config, device)
    if FAILS in "".join(report.sections):
        sys.exit("The results are not those of the reference: see above.")


def check(report: Report, device: jax.Device, *, tiny: bool) -> None:
    """Adds what the device computes beside what it should."""
    with report.timed("logits"):
        report.add("### Logits against the CPU\n\n" + compare_logits(device))
    with report.timed("adapters"):
        report.add("### Logits with an adapter against the CPU\n\n" + compare_adapters(device))
    with report.timed("draws"):
        report.add("### Draws\n\n" + compare_sampling(device) + "\n\n" + compare_loops(device))
    with report.timed("attention"):
        heads = ATTENTION_HEADS[:1] if tiny else ATTENTION_HEADS
        report.add("### Attention against the reference\n\n" + compare_attention(device, heads))


if __name__ == "__main__":
    main()
