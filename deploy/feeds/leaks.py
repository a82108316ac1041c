"""How large a leak must be to be seen at its junction: a burst on a main loses more water than one in a side street.

In:   a junction of the network.
Out:  litres a second at 20 m head that lower its own pressure by about `TARGET_DROP_M`, within what a burst may lose.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from deploy.feeds.demand import Demand
from deploy.feeds.hydraulics import Hydraulics, net3

TARGET_DROP_M = 3.0  # a burst: beyond what demand and pumps do to pressure within minutes
SMALLEST_LPS, LARGEST_LPS = 10.0, 150.0
_PROBE_LPS = 20.0
_PROBE_STEP_S = 300
_MONDAY_NOON_S = 1_767_614_400


@cache
def default_leak_lps(junction: str) -> float:
    """Size for a leak that names none, from two solutions of the network at a Monday's noon: without and with a small leak.

    >>> default_leak_lps("143") < default_leak_lps("121")
    True
    """
    hydraulics = Hydraulics(_PROBE_STEP_S)
    demand = Demand(net3(), hydraulics.junctions, _PROBE_STEP_S, np.random.default_rng(0))
    hydraulics.set_demands(demand.at(_MONDAY_NOON_S))
    hydraulics.set_link("10", True)
    row = hydraulics.junctions.index(junction)
    hydraulics.solve()
    before = hydraulics.pressures_m()[row]
    hydraulics.set_emitter(junction, _PROBE_LPS)
    hydraulics.solve()
    drop = max(before - hydraulics.pressures_m()[row], 1e-6)
    return float(np.clip(round(_PROBE_LPS * TARGET_DROP_M / drop), SMALLEST_LPS, LARGEST_LPS))
