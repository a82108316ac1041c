"""Writes steps of 50 twins and revisions of an alert to a store, and says the number of each once it has returned.

Run by the contract suite as a process of its own: python write_until_killed.py ADDRESS [TOKEN ORG BUCKET]
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path


def write_until_killed(address: str, *access: str) -> None:
    from streams.stores import InfluxDbAccess, open_store
    from tests.streams.stores.blocks import PUMP, alert, block

    store = open_store(address, home=Path(), influxdb=InfluxDbAccess(*access) if access else None)
    for step in itertools.count(1):
        store.write_history([block(PUMP, [f"a{n}" for n in range(50)], [step], seed=step)])
        store.write_alerts([alert("a", step)])
        print(step, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))
    write_until_killed(*sys.argv[1:])
