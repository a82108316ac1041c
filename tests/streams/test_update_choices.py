"""When an update tries another structure: every so many versions, where the budget holds twice what one takes."""

from __future__ import annotations

from models.origin import Compute
from streams.model_records import ModelVersion
from streams.models_topic import ModelView
from streams.triggers import Budget
from streams.update_choices import structure_trial


def model(*cpu_s: float) -> ModelView:
    fields = {"name": "a", "type": "t", "uri": "", "sha256": "", "contract": "c", "base": None, "decision": "champion", "why": ""}
    found = ModelView("a")
    for number, cpu in enumerate(cpu_s, 1):
        compute = Compute(wall_s=cpu, cpu_s=cpu, device="cpu", software={})
        found.versions[f"{number:04d}"] = ModelVersion.model_validate(
            {**fields, "version": f"{number:04d}", "time_ns": number, "compute": compute}
        )
    return found


def turns(*, every: int, budget: Budget, known: ModelView | None) -> list[int | None]:
    return [structure_trial(known, number, every=every, budget=budget, now_s=0.0) for number in range(1, 7)]


def test_every_so_many_versions_the_next_neighbour_has_its_turn() -> None:
    unbound = Budget(0.0, now_s=0.0)
    assert turns(every=2, budget=unbound, known=model(9.0)) == [None, 1, None, 2, None, 3]
    assert turns(every=0, budget=unbound, known=model(9.0)) == [None] * 6
    assert turns(every=1, budget=unbound, known=None) == [None] * 6, "a first model has nothing to be compared with"


def test_a_trial_waits_for_a_budget_that_holds_it() -> None:
    budget = Budget(100.0, now_s=0.0)
    assert turns(every=3, budget=budget, known=model(60.0, 50.0)) == [None, None, 1, None, None, 2]
    assert turns(every=3, budget=budget, known=model(50.0, 51.0)) == [None] * 6
    budget.spend(1.0, now_s=0.0)
    assert turns(every=3, budget=budget, known=model(60.0, 50.0)) == [None] * 6
