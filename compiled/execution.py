"""Which computations of a program run as such, and how often: its entry, loops' bodies, branches."""

from collections.abc import Iterator

from compiled.hlo import Computation, Instruction, Module


def executed(module: Module, scope: str | None = None) -> Iterator[tuple[Computation, int]]:
    """Yields each computation that runs, and how often.

    A loop whose length is not known before counts once: its body is one iteration.

    Args:
      module: the program.
      scope: a name of `jax.named_scope`. Of a conditional's branches the one that holds it runs, or else the first: of
        `lax.cond` that of False.
    """

    def visit(name: str, times: int) -> Iterator[tuple[Computation, int]]:
        computation = module.computations[name]
        yield computation, times
        for each in computation:
            if each.opcode == "while":
                for called in each.called:
                    yield from visit(called, times * module.trip_count(each))
            elif each.opcode == "call":
                for called in each.called:
                    yield from visit(called, times)
            elif each.opcode == "conditional":
                yield from visit(_branch(module, each, scope), times)

    return visit(module.entry, 1)


def _branch(module: Module, conditional: Instruction, scope: str | None) -> str:
    first, *_ = conditional.called
    if scope in _scopes(conditional):
        return first
    return next((branch for branch in conditional.called if scope in _scopes_below(module, branch)), first)


def _scopes_below(module: Module, name: str) -> set[str]:
    """Those of the instructions of a computation and of all that it runs."""
    computation = module.computations[name]
    own = (_scopes(each) for each in computation)
    return set().union(*own, *(_scopes_below(module, called) for each in computation for called in each.called))


def _scopes(instruction: Instruction) -> set[str]:
    return set(instruction.source.split("/"))
