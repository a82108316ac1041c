"""What HTTP says of the versions that serve beside the champion or partition by partition.

In:   the view of one model.
Out:  pydantic models (for OpenAPI) filled as plain dictionaries, parts of `streams.gateway.answers.ModelAnswer`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from streams.gateway.times import rfc3339
from streams.models_topic import ModelView


class ChallengerAnswer(BaseModel):
    version: str
    sha256: str | None
    canary_share: float | None = Field(description="share of the twins that it serves; null: it stands in the shadow")


class ServingAnswer(BaseModel):
    partition: int
    epoch: int
    version: str | None
    sha256: str | None
    from_offset: int | None
    canary: str | None = Field(description="version that serves the canary twins from there on")
    time: str


def challenger(model: ModelView) -> dict[str, Any] | None:
    alias = model.alias
    if alias is None or alias.challenger is None:
        return None
    sha256 = model.challenger.sha256 if model.challenger is not None else None
    return {"version": alias.challenger, "sha256": sha256, "canary_share": alias.canary.share if alias.canary else None}


def serving(model: ModelView) -> list[dict[str, Any]]:
    found = []
    for partition, one in sorted(model.serving.items()):
        newest = one.switches[-1] if one.switches else None
        found.append(
            {
                "partition": partition,
                "epoch": one.epoch,
                "version": newest.version if newest else None,
                "sha256": newest.sha256 if newest else None,
                "from_offset": newest.offset if newest else None,
                "canary": newest.canary.version if newest and newest.canary else None,
                "time": rfc3339(one.time_ns),
            }
        )
    return found
