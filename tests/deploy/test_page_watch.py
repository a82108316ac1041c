"""When `livetwin up` says that twins live."""

from __future__ import annotations

from typing import Any

import pytest

from deploy import page_watch


@pytest.mark.parametrize(
    ("answers", "looks"),
    [
        ([[], [("p1", "12:00")]], 2),
        ([None, [("p1", "12:00")], [("p1", "12:00")], [("p1", "12:05")]], 4),  # a restart: the first was remembered
    ],
)
async def test_twins_live_once_one_shows_a_step_that_was_not_remembered(
    answers: list[Any], looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter(answers)
    taken: list[Any] = []

    def get(_url: str) -> Any:
        taken.append(next(asked))
        return None if taken[-1] is None else {"twins": [{"id": name, "time": time} for name, time in taken[-1]]}

    monkeypatch.setattr(page_watch, "_get", get)
    monkeypatch.setattr(page_watch, "_EVERY_S", 0.0)
    assert await page_watch.await_twins("http://127.0.0.1:1") == 1
    assert len(taken) == looks
