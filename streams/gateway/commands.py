"""What an operator says of alerts, models and the demo plant; the same for the page and for HTTP.

In:   plain arguments.
Out:  one record each on alert.commands, feedback, models or demo.commands, acknowledged; others carry it out.
"""

from __future__ import annotations

import time
import uuid
from typing import Literal

from streams.demo import fault_key
from streams.gateway.problem import ApiError, not_found
from streams.gateway.producing import RecordProducer
from streams.gateway.views import LiveViews
from streams.model_records import ModelCommand, models_key
from streams.records import AlertCommand, DemoCommand, Feedback
from streams.topics import Topics

AlertAction = Literal["acknowledge", "shelve", "comment", "false-alarm"]
ModelAction = Literal["promote", "rollback", "train"]


class Operator:
    """Gives commands. Each has its own id, so that one delivered twice counts once."""

    def __init__(self, topics: Topics, producer: RecordProducer, views: LiveViews) -> None:
        self._topics = topics
        self._producer = producer
        self._views = views

    async def alert(
        self,
        alert_id: str,
        action: AlertAction,
        *,
        by: str,
        text: str | None = None,
        until_ns: int | None = None,
        command_id: str | None = None,
    ) -> AlertCommand:
        """Raises ApiError 404 for an alert that is not known, BrokerAway."""
        alert = self._views.alerts.get(alert_id)
        if alert is None:
            raise not_found("alert", alert_id, "/v1/alerts")
        command = AlertCommand(
            command_id=command_id or str(uuid.uuid4()),
            action=action,
            alert_id=alert_id,
            asset=alert.asset,
            by=by,
            text=text,
            until_ns=until_ns,
            time_ns=time.time_ns(),
        )
        await self._producer.send(self._topics.alert_commands, [(alert_id.encode(), command.to_bytes())])
        return command

    async def label(self, alert_id: str, label: str, *, by: str) -> Feedback:
        """Say what was at an alert's twin, from its onset to its clear or last change. Raises ApiError 404, BrokerAway."""
        alert = self._views.alerts.get(alert_id)
        if alert is None:
            raise not_found("alert", alert_id, "/v1/alerts")
        until_ns = alert.updated_ns if alert.cleared_ns is None else alert.cleared_ns
        feedback = Feedback(asset=alert.asset, from_ns=alert.onset_ns, to_ns=until_ns + 1, label=label, by=by, alert_id=alert_id)
        await self._producer.send(self._topics.feedback, [(alert.asset.encode(), feedback.to_bytes())])
        return feedback

    async def model(
        self, name: str, action: ModelAction, *, by: str, version: str | None = None, command_id: str | None = None
    ) -> ModelCommand:
        """Raises ApiError 404 for a model or version that is not known, 409 for what can't be done now, BrokerAway."""
        model = self._views.models.get(name)
        if model is None:
            known_types = {kind.slug for kind in self._views.definitions.types.values()}
            if action != "train" or name not in known_types:
                raise not_found("model", name, "/v1/models")
        elif action == "promote":
            if version is None:
                raise ApiError(
                    422, f"promote {name}: version is missing, expected one of {sorted(model.versions)}; nothing was done"
                )
            if version not in model.versions:
                raise not_found(f"version of {name}", version, "/v1/models")
        elif action == "rollback" and (model.alias is None or model.alias.previous is None):
            raise ApiError(409, f"{name} has no previous version to roll back to; the champion keeps serving")
        command = ModelCommand(
            command_id=command_id or str(uuid.uuid4()), name=name, action=action, version=version, by=by, time_ns=time.time_ns()
        )
        await self._producer.send(self._topics.models, [(models_key(command), command.to_bytes())])
        return command

    async def fault(self, command: DemoCommand) -> DemoCommand:
        """Raises ApiError 404 for an asset, 422 for a channel that is not known, BrokerAway."""
        declared = self._views.definitions.fleet.get(command.asset)
        if declared is None:
            raise not_found("asset", command.asset, "/v1/twins")
        kind = self._views.definitions.types.get(declared.type)
        if command.channel is not None and kind is not None and command.channel not in kind.channel_names:
            raise ApiError(
                422,
                f"{command.asset} has no channel {command.channel!r}, expected one of {', '.join(kind.channel_names)}; "
                "nothing was switched",
            )
        await self._producer.send(self._topics.demo_commands, [(fault_key(command), command.to_bytes())])
        return command
