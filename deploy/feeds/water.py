"""The demo feed `water`: a simulated water network as an ordinary producer of the public contract."""

from __future__ import annotations

from deploy.feeds.water_plant import JUNCTION, PIPE, PUMP, TANK, WaterPlant, simulate

__all__ = ["JUNCTION", "PIPE", "PUMP", "TANK", "WaterPlant", "simulate"]
