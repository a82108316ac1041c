"""What a store holds of a period as lines of JSON in one fixed order: the same contents give the same bytes.

In:   any `TwinStore`.
Out:  a line a step (by asset, then time), then a line an alert (by id). For comparing stores, and for taking data out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import orjson

from streams.stores.port import TwinStore

_ALL = 2**31 - 1  # points: every step by itself


def export_lines(store: TwinStore, *, from_ns: int, to_ns: int, assets: Collection[str] = ()) -> Iterator[bytes]:
    """Steps with from_ns <= time < to_ns, and the alerts that were active then; of all assets, or of some. A line each."""
    for asset in sorted(one.asset for one in store.latest() if not assets or one.asset in assets):
        found = store.history(asset, channels=None, from_ns=from_ns, to_ns=to_ns, points=_ALL)
        risk = found.risk
        for place, time_ns in enumerate(risk.time_ns):
            step = {
                "asset": asset,
                "time_ns": time_ns,
                "channels": {
                    one.channel: [one.value[place], one.expected[place], one.spread[place], one.quality[place]]
                    for one in sorted(found.channels, key=lambda one: one.channel)
                },
                "risk": risk.risk[place],
                "score": risk.score[place],
                "version": risk.version[place],
            }
            yield orjson.dumps(step, option=orjson.OPT_APPEND_NEWLINE)
    alerts = store.alerts(from_ns=from_ns, to_ns=to_ns, limit=_ALL)
    for alert in sorted(alerts, key=lambda one: one.id):
        if assets and alert.asset not in assets:
            continue
        yield orjson.dumps(alert.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
