"""Orders to the trainer, as a person gives them: promote, roll back, train; and what became of each.

In:   the topics `models` and `definitions`.
Out:  one `ModelCommand`, acknowledged; then the answer as it comes on `models`: what was done, or why not, and who serves it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal

from aiokafka import AIOKafkaProducer

from streams import clients
from streams.definitions import read_definitions
from streams.model_records import ModelCommand, Refusal, models_key
from streams.models_topic import Change, ModelsView, ModelView, follow
from streams.topics import Topics
from twin.errors import LivetwinError

Action = Literal["promote", "rollback", "train"]
SERVED_S: Final = 10.0  # for which is waited until every partition is served by what was promoted


class ModelUnknown(LivetwinError):
    """No such model or version."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an order.

    `done`: carried out (for `train`: a round was trained, whatever the gate made of it). `refused`: by the trainer, or the
    version by a processor. `unanswered`: nobody has carried it out in time, and it was taken back.
    """

    outcome: Literal["done", "refused", "unanswered"]
    words: str
    version: str | None = None


class ModelOrders:
    """Follows `models` while orders are given. Made by `opened`."""

    def __init__(self, producer: AIOKafkaProducer, bootstrap: str, topics: Topics, view: ModelsView) -> None:
        self._producer, self._bootstrap, self._topics, self._view = producer, bootstrap, topics, view
        self._changed = asyncio.Event()
        self._command: ModelCommand | None = None
        self._before: Collection[str] = ()  # versions that were there when it was given
        self._there, self._removed = False, False  # its record: is on the topic; was, and was removed by who answered it
        self._answer: Answer | None = None

    def on_change(self, change: Change) -> None:
        """Each record counts, also one that the next replaces at once."""
        self._changed.set()
        command = self._command
        model = self._view.get(command.name) if command is not None else None
        if command is None or model is None or self._answer is not None:
            return
        there = command.command_id in model.commands
        self._there, self._removed = self._there or there, self._there and not there
        self._answer = _answer_to(command, model, self._before, removed=self._removed)

    async def order(self, name: str, action: Action, *, version: str | None, by: str, within_s: float) -> Answer:
        """Give one order and wait for what becomes of it.

        Raises:
            ModelUnknown: nobody could carry it out; nothing was sent.
        """
        await self._check(name, action)
        command = ModelCommand(
            command_id=os.urandom(16).hex(), name=name, action=action, version=version, by=by, time_ns=time.time_ns()
        )
        model = self._view.get(name)
        self._before = set(model.versions) if model is not None else ()
        self._command, self._answer, self._there, self._removed = command, None, False, False
        await self._send(command, command.to_bytes())
        await self._until(lambda: self._answer is not None, within_s)
        if (answer := self._answered()) is not None:
            return answer
        await self._send(command, None)
        await self._until(lambda: self._removed, within_s)
        if (answer := self._answered()) is not None and answer.outcome != "unanswered":
            return answer  # it came at the last moment
        return Answer(
            "unanswered",
            f"no trainer has carried it out within {within_s:g} s; it was taken back. Is one running (`livetwin doctor`), "
            "or busy with a long round?",
        )

    async def served(self, name: str, version: str) -> Answer:
        """Wait until every partition that has an owner is served by `version`, or a processor refuses it."""
        self._command = None
        model = self._view.models[name]
        since_ns = model.alias.since_ns if model.alias is not None else 0

        def refusal() -> Refusal | None:
            found = model.refusals.get(version)
            return found if found is not None and found.command_id is None and found.time_ns >= since_ns else None

        def switched() -> list[int]:
            return [at for at, one in sorted(model.serving.items()) if one.switches and one.switches[-1].version == version]

        await self._until(
            lambda: refusal() is not None or (bool(model.serving) and len(switched()) == len(model.serving)), SERVED_S
        )
        found = refusal()
        if found is not None:
            return Answer(
                "refused", f"refused by a processor: {found.reason}; {found.serving or 'no version'} keeps serving", version
            )
        if not model.serving:
            return Answer("unanswered", "no processor has said yet that it serves a version", version)
        on = ", ".join(map(str, switched())) or "none"
        left = len(model.serving) - len(switched())
        return Answer("done", f"serving on partition {on}" + (f"; {left} have not switched yet" if left else ""), version)

    def _answered(self) -> Answer | None:
        return self._answer

    async def _check(self, name: str, action: Action) -> None:
        known = set(self._view.models)
        if action == "train":
            known |= {kind.slug for kind in (await read_definitions(self._bootstrap, self._topics)).types.values()}
        if name not in known:
            raise ModelUnknown(f"no model {name!r}, expected one of: {', '.join(sorted(known)) or 'none yet'}; nothing was done")

    async def _send(self, command: ModelCommand, value: bytes | None) -> None:
        sent = await self._producer.send_and_wait(self._topics.models, key=models_key(command), value=value)
        await self._view.reached(sent.offset)

    async def _until(self, condition: Callable[[], bool], within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def opened(bootstrap: str, topics: Topics) -> AsyncIterator[tuple[ModelOrders, ModelsView]]:
    """A view of `models` that is read to its end and followed, and orders on it."""
    view, caught_up, stop = ModelsView(), asyncio.Event(), asyncio.Event()
    async with clients.producer(bootstrap, client_id="livetwin-orders") as producer:
        orders = ModelOrders(producer, bootstrap, topics, view)
        following = asyncio.create_task(
            follow(bootstrap, topics, view, caught_up=caught_up, stop=stop, on_change=orders.on_change)
        )
        try:
            ready = asyncio.create_task(caught_up.wait())
            await asyncio.wait({ready, following}, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if following.done():
                following.result()
            yield orders, view
        finally:
            stop.set()
            await following


def _answer_to(command: ModelCommand, model: ModelView, before: Collection[str], *, removed: bool) -> Answer | None:
    """What the view says of the command; None: nothing yet. `before`: versions that it does not account for."""
    alias = model.alias
    if alias is not None and alias.command_id == command.command_id:
        return Answer("done", f"champion is {alias.champion}: {alias.why}", alias.champion)
    refusal = next((one for one in model.refusals.values() if one.command_id == command.command_id), None)
    if refusal is not None:
        return Answer("refused", refusal.reason, refusal.version)
    if not removed:
        return None
    trained = [version for version in model.history() if version.version not in before]
    if command.action == "train" and trained:
        newest = trained[0]
        return Answer("refused" if newest.decision == "refused" else "done", newest.why, newest.version)
    return Answer("unanswered", "taken off the topic without an answer: out of date for the trainer")
