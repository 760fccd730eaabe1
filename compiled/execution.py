"""Which computations of a program run as such, and how often: its entry, loops' bodies, branches."""

from collections.abc import Callable, Iterator

from compiled.hlo import Computation, Module


def executed(
    module: Module, weigh: Callable[[Computation], int], *, heaviest: bool = False
) -> Iterator[tuple[Computation, int]]:
    """Yields each computation that runs, and how often.

    A loop whose length is not known before counts once: its body is one iteration. Of a conditional's branches the
    lightest by `weigh` counts, or the heaviest: a step that is greedy, or one that draws by top-k and top-p.
    """
    choose = max if heaviest else min

    def visit(name: str, times: int) -> Iterator[tuple[Computation, int]]:
        computation = module.computations[name]
        yield computation, times
        for each in computation:
            if each.opcode == "while":
                for called in each.called:
                    yield from visit(called, times * each.trip_count)
            elif each.opcode == "call":
                for called in each.called:
                    yield from visit(called, times)
            elif each.opcode == "conditional":
                branches = [list(visit(called, times)) for called in each.called]
                yield from choose(branches, key=lambda branch: sum(n * weigh(c) for c, n in branch))

    return visit(module.entry, 1)
