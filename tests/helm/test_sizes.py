"""Each profile keeps what its first lines promise, by calculator and simulator, and not for twice as many people."""

import json
from pathlib import Path

import pytest

from helm.manifests import PROFILES
from helm.sizes import DOCS, Profile, profile, table
from serving.cluster.chips import CHIPS, Chip
from serving.cluster.group_size import GroupSize
from serving.cluster.habits import Habits
from serving.cluster.shapes import shape_of
from serving.config import LimitsConfig, ModelConfig, Role
from serving.models.topology import Topology
from tests.helm.chart import ROOT


@pytest.mark.parametrize("name", PROFILES)
def test_the_calculator_finds_enough_groups_in_each_profile(name: str) -> None:
    each = profile(name)
    for model, chip in each.models:
        size = each.size(model, chip, each.users)
        assert size.groups <= size.configured, model.id
        for role in model.roles:
            assert size.first_token_s[role] <= each.goals.first_token_s[role]
            assert size.answer_tokens_per_s[role] >= each.goals.tokens_per_s[role]


@pytest.mark.parametrize("name", PROFILES)
def test_the_simulator_meets_the_goals_of_each_profile(name: str) -> None:
    each = profile(name)
    for model, chip in each.models:
        for role, got in each.simulated(model, chip, each.users).items():
            assert got.meets(each.goals, role), f"{model.id}: {role} gets {got}"


@pytest.mark.parametrize("name", PROFILES)
def test_twice_as_many_developers_are_too_many_for_both(name: str) -> None:
    each = profile(name)
    twice = 2 * each.users
    assert any(_needs_more(each, model, chip, twice) for model, chip in each.models)
    few = [(model, chip) for model, chip in each.models if Role.CHAT in model.roles]  # far fewer requests
    assert any(
        not got.meets(each.goals, role)
        for model, chip in few
        for role, got in each.simulated(model, chip, twice).items()
    )


@pytest.mark.parametrize("name", [name for name in PROFILES if name.endswith("-ha")])
def test_with_a_group_lost_half_of_the_developers_are_served_as_promised(name: str) -> None:
    each = profile(name)
    for model, chip in each.models:
        half = each.users // 2
        size = each.size(model, chip, half)
        assert size.groups < size.configured, model.id
        for role, got in each.simulated(model, chip, half, lost=1).items():
            assert got.meets(each.goals, role), f"{model.id}: {role} gets {got}"


def test_the_docs_have_the_table_of_what_is_calculated_and_simulated() -> None:
    assert table() in DOCS.read_text(), "run `make manifests`"


def _needs_more(each: Profile, model: ModelConfig, chip: Chip, users: int) -> bool:
    size = each.size(model, chip, users)
    return size.groups > size.configured


def test_no_step_is_calculated_to_be_faster_than_the_compiler_of_tpus_says() -> None:
    """`compiled/tpu-v5e.json`: a step takes the larger of the compiler's estimate and its bytes' way through HBM."""
    shapes = {
        "codegemma-2b bfloat16 on 1x1": _group("codegemma-2b", "v5e", "tpu-v5litepod", 1, 2048),
        "codegemma-7b-it bfloat16 on 2x2": _group("codegemma-7b-it", "v5e", "tpu-v5litepod", 4, 2048),
        "codegemma-7b-it bfloat16 on 2x4": _group("codegemma-7b-it", "v5e", "tpu-v5litepod", 8, 2048),
        "codegemma-2b int8-weights on 1x1": _group("codegemma-2b", "v5e", "tpu-v5litepod", 1, 2048, "int8-weights"),
    }
    compared = 0
    for key, figures in json.loads((ROOT / "compiled" / "tpu-v5e.json").read_text()).items():
        configuration, step, layers = key.split(" | ")
        if configuration in shapes and layers == "all layers":
            kind, size = step.split(", ")
            count, pace = int(size.split()[0]), shapes[configuration].pace
            calculated_s = pace.decode_s(count) if kind == "decode" else pace.prompt_s(count, 0)
            least_s = max(figures["milliseconds"] / 1e3, figures["traffic"] / CHIPS["v5e"].bandwidth)
            assert calculated_s >= least_s, key
            compared += 1
    assert compared >= 20


def test_no_step_is_calculated_to_be_more_than_8_percent_faster_than_measured_on_an_h100() -> None:
    """bench/README.md, "GPU": decode with 1000 tokens of context in a loop, and prefill of 1024 tokens, in ms."""
    measured = {
        ("codegemma-2b", None): ({1: 2.17, 8: 2.44, 32: 2.78}, 9.26),
        ("codegemma-2b", "int8-weights"): ({1: 1.53, 8: 1.67, 32: 2.34}, 11.48),
        ("codegemma-7b-it", None): ({1: 6.51, 8: 8.00, 32: 12.41}, 30.33),
        ("codegemma-7b-it", "int8-weights"): ({1: 4.19, 8: 5.36, 32: 10.24}, 37.08),
    }
    for (name, quantize), (decode, prefill) in measured.items():
        pace = _group(name, "h100", "gpu", 1, 1000, quantize).pace
        for rows, milliseconds in decode.items():
            assert 1e3 * pace.decode_s(rows) >= 0.92 * milliseconds, (name, quantize, rows)
        assert 1e3 * pace.prompt_s(1024, 0) >= 0.92 * prefill, (name, quantize)


def _group(name: str, chip: str, accelerator: str, chips: int, context: int, quantize: str | None = None) -> GroupSize:
    topology = Topology.model_validate({"accelerator": accelerator, "chips_per_host": chips})
    model = ModelConfig.model_validate(
        {
            "id": name,
            "checkpoint": name,
            "roles": ["fim"],
            "quantize": quantize,
            "topology": topology,
            "limits": LimitsConfig(max_rows=32 if name == "codegemma-2b" else 16, max_step_tokens=1024),
        }
    )
    habits = Habits(tokens={Role.FIM: (context, 1)})
    return GroupSize(model, shape_of(model), CHIPS[chip], [Role.FIM], habits, efficiency=0.5)


def test_a_profile_says_for_whom_it_is_in_its_first_lines() -> None:
    for file in sorted(Path(ROOT / "helm" / "codegemma-serving").glob("values-*.yaml")):
        comment = file.read_text().partition("serving:")[0]
        assert "\n# For " in comment and " developers" in comment, file.name
