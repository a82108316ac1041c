"""First versions: what is trained on a season without faults, as bytes that travel to other processes.

In:   a season without faults.
Out:  the version file of each type; versions loaded from such files.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deploy.eval.watching import Season, Watch
from models import version
from models.served import ServedModel
from models.training import train

Payloads = Mapping[str, bytes]  # by type
KEPT_STEPS = 20_000  # of the newest, which a season for training does not exceed


def first_versions(season: Season, seed: int, target: float) -> dict[str, bytes]:
    """The version file of each type after the season, trained as the trainer's first one is."""
    watch = Watch(season, {}, kept_steps=KEPT_STEPS)
    watch.run()
    return {
        type_id: train(
            type=watch.type_of(type_id),
            block=watch.kept(type_id),
            base=None,
            number=1,
            alarms_per_twin_day=target,
            seed=seed,
            threads=1,
        ).payload
        for type_id in season.layout
    }


def loaded(payloads: Payloads) -> dict[str, ServedModel]:
    return {type_id: version.decode(payload, device="cpu") for type_id, payload in payloads.items()}


def seed_of(seed: int, number: int) -> int:
    """Another one for each season of each seed."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
