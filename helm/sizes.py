"""Whether profiles keep what their first lines promise, by calculator and simulator; writes the table of it."""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from helm.manifests import PROFILES, render
from serving.cluster.chips import CHIPS, Chip
from serving.cluster.habits import Goals, Habits
from serving.cluster.rendered import config_of
from serving.cluster.shapes import shape_of
from serving.cluster.simulated import Service, simulate_model
from serving.cluster.sizing import ModelSize, Plan, size_model
from serving.config import ModelConfig, Role

_ROOT = Path(__file__).parents[1]
DOCS = _ROOT / "docs" / "cluster.md"
_CHART = _ROOT / "helm" / "codegemma-serving"
_PROMISE = re.compile(
    r"^# For (?P<users>\d+) developers: 95 of 100 completions begin within (?P<fim>[\d.]+) s and go on at "
    r"(?P<fim_rate>[\d.]+) tokens/s, chats within (?P<chat>[\d.]+) s and at (?P<chat_rate>[\d.]+)\.$",
    re.MULTILINE,
)
_BEGIN, _END = "<!-- helm/sizes.py -->\n", "<!-- end -->\n"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A profile as it is rendered, and what it promises.

    Attributes:
      users: developers.
      models: with the chip that each runs on.
    """

    name: str
    users: int
    goals: Goals
    models: tuple[tuple[ModelConfig, Chip], ...]

    def size(self, model: ModelConfig, chip: Chip, users: int) -> ModelSize:
        """What the calculator says of a model.

        Raises:
          ValueError: it is too slow with however many groups.
        """
        return size_model(model, shape_of(model), chip, dict.fromkeys(model.roles, 1.0), self._plan(users))

    def simulated(self, model: ModelConfig, chip: Chip, users: int, lost: int = 0) -> dict[Role, Service]:
        """What the simulator says, with the profile's autoscaling, or with all its groups but the `lost`."""
        size = self.size(model, chip, self.users)
        return simulate_model(model, size, dict.fromkeys(model.roles, 1.0), self._plan(users), lost)

    def _plan(self, users: int) -> Plan:
        return Plan(users=users, habits=Habits(), goals=self.goals, efficiency=0.5, price=None)


def profile(name: str) -> Profile:
    """A profile by its name in `helm.manifests.PROFILES`.

    Raises:
      ValueError: its file does not say for how many developers it is.
    """
    file = _CHART / f"values-{PROFILES[name][0]}.yaml"
    promise = _PROMISE.search(file.read_text())
    if promise is None:
        raise ValueError(f"{file.name}: its first lines do not say `For N developers: ...`, as the other profiles do.")
    config, chips = config_of(list(render(name).values()), name)
    of_platform: dict[str, Chip] = {chip.platform: chip for chip in (CHIPS["2-cores"], *chips)}
    return Profile(
        name=name,
        users=int(promise["users"]),
        goals=Goals(
            first_token_s={Role.FIM: float(promise["fim"]), Role.CHAT: float(promise["chat"])},
            tokens_per_s={Role.FIM: float(promise["fim_rate"]), Role.CHAT: float(promise["chat_rate"])},
        ),
        models=tuple((model, of_platform[model.topology.platform]) for model in config.models),
    )


def table() -> str:
    """The table of all profiles, as Markdown."""
    lines = [
        "| profile | developers | model, role | goal | groups needed, at most | machines | calculator | simulator |",
        "|---|--:|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(row for name in PROFILES for row in _rows(profile(name)))]) + "\n"


def _rows(each: Profile) -> Iterator[str]:
    for model, chip in each.models:
        size = each.size(model, chip, each.users)
        simulated = each.simulated(model, chip, each.users)
        for role in model.roles:
            goal = Service(first_token_s=each.goals.first_token_s[role], tokens_per_s=each.goals.tokens_per_s[role])
            calculated = Service(first_token_s=size.first_token_s[role], tokens_per_s=size.answer_tokens_per_s[role])
            cells = (
                f"`{each.name}`",
                str(each.users),
                f"{model.id}, {role}",
                str(goal),
                f"{size.groups}, {size.configured}",
                f"{size.machines} {size.machine}",
                str(calculated),
                str(simulated[role]),
            )
            yield f"| {' | '.join(cells)} |"


def main() -> int:
    """Writes the table into the docs, or says whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the table is up to date")
    text = DOCS.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    updated = f"{before}{_BEGIN}{table()}{_END}{after}"
    if not parser.parse_args().check:
        DOCS.write_text(updated)
        return 0
    if updated != text:
        print(f"{DOCS.name}: the table of profiles is out of date. Run `make manifests`.", file=sys.stderr)
    return updated != text


if __name__ == "__main__":
    sys.exit(main())
