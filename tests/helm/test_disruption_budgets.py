"""Disruption budgets: how many pods may go at a time."""

import pytest

from tests.helm.chart import CASE, Case, every_case, of_kind, pods, rendered, selects


@every_case
def test_budgets_leave_room_for_a_node_to_be_drained(case: Case) -> None:
    objects = rendered(case)
    for budget in of_kind(objects, "PodDisruptionBudget").values():
        covered = [
            least for _, pod, least in pods(objects) if selects(budget["spec"]["selector"], pod["metadata"]["labels"])
        ]
        assert len(covered) == 1
        allowed = budget["spec"].get("maxUnavailable")
        assert allowed == 1 if allowed is not None else 0 < budget["spec"]["minAvailable"] < covered[0]


@pytest.mark.parametrize(("name", "pods", "slices"), [("tpu-2x4-two-hosts", 4, 1), ("tpu-4x4-three-slices", 12, 2)])
def test_a_budget_lets_no_more_pods_go_than_slices_may_be_lost(name: str, pods: int, slices: int) -> None:
    budget = of_kind(rendered(CASE[name]), "PodDisruptionBudget")["codegemma-worker-slices"]
    assert budget["spec"]["minAvailable"] == pods - slices  # each of them can be of another slice
