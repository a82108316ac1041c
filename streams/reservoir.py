"""Reservoir: a bounded sample of all that a type's twins have ever shown, so that an update does not forget old regimes.

In:   closed steps as the arenas hand them out, in any order of twins; a step given again changes nothing.
Out:  `Stretches` that lie before a step; a file, since the log forgets.

Time is cut into stretches of `LENGTH` steps on the type's grid, and into strata of equally many stretches. Of each stratum the
stretches with the lowest ranks stay, a rank being a hash of seed, asset and the stretch's number: a uniform sample of the
stratum, the same whatever the order, the batches and the restarts. When there are more than `STRATA`, two become one.
Source: priority sampling as in bottom-k sketches, Cohen and Kaplan, PODC 2007.
"""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twin.quality import Quality
from twin.stretches import Stretches
from twin.types import TwinType

log = logging.getLogger(__name__)

LENGTH = 96  # steps of a stretch: a whole window and some steps to forecast from it
STRATA = 32
_LAST = np.uint64(2**64 - 1)


@dataclass(slots=True)
class _Stretch:
    asset: str
    number: int  # its first step is LENGTH times that
    upto: int  # newest step taken; -1 before the first
    values: NDArray[np.float32]  # (LENGTH, C)
    quality: NDArray[np.uint8]


class Reservoir:
    """The sample of one type. `capacity` stretches at most, in `STRATA` strata of time."""

    def __init__(self, type: TwinType, *, capacity: int, seed: int) -> None:
        self.type = type
        self._seed = seed
        self._each = max(1, capacity // STRATA)
        self._width = 1  # stretch numbers in a stratum
        self._held: dict[int, _Stretch] = {}  # by rank
        self._strata: dict[int, list[int]] = {}  # number of the stratum → ranks, lowest first
        self._asset_hash: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def oldest_ns(self) -> int | None:
        """Begin of the oldest stretch, event time; None when nothing is held."""
        return min(one.number for one in self._held.values()) * LENGTH * self.type.period_ns if self._held else None

    def add(
        self, assets: Sequence[str], step: NDArray[np.int64], values: NDArray[np.float32], quality: NDArray[np.uint8]
    ) -> None:
        """Take N closed steps: (N,), (N,), (N, C), (N, C)."""
        if not len(step):
            return
        number = step // LENGTH
        ranks, first, inverse = np.unique(self._ranks(assets, number), return_index=True, return_inverse=True)
        strata, which = np.unique(number[first] // self._width, return_inverse=True)
        worst = np.array([self._worst(stratum) for stratum in strata.tolist()], np.uint64)
        promising = np.flatnonzero(ranks <= worst[which])
        if not len(promising):
            return
        order = np.argsort(inverse, kind="stable")
        starts = np.searchsorted(inverse[order], np.arange(len(ranks) + 1))
        for place in promising.tolist():
            at = order[starts[place] : starts[place + 1]]
            held = self._stretch(int(ranks[place]), assets[int(first[place])], int(number[first[place]]))
            if held is not None:
                _fill(held, step[at], values[at], quality[at])

    def before(self, step: int) -> Stretches:
        """The stretches that end before `step`, oldest first."""
        kept = [one for one in self._held.values() if (one.number + 1) * LENGTH <= step]
        kept.sort(key=lambda one: (one.number, one.asset))
        shape = (0, LENGTH, len(self.type.channels))
        return Stretches(
            tuple(one.asset for one in kept),
            np.array([one.number * LENGTH for one in kept], np.int64),
            self.type.period_ns,
            np.stack([one.values for one in kept]) if kept else np.zeros(shape, np.float32),
            np.stack([one.quality for one in kept]) if kept else np.zeros(shape, np.uint8),
        )

    def forget(self, asset: str) -> None:
        """Drop what is held of a twin, as when its source is told to have sent other units than was believed."""
        for rank in [rank for rank, one in self._held.items() if one.asset == asset]:
            self._strata[self._held.pop(rank).number // self._width].remove(rank)

    # ── which stay ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _ranks(self, assets: Sequence[str], number: NDArray[np.int64]) -> NDArray[np.uint64]:
        """(N,) uniform 64-bit hashes of (seed, asset, stretch number)."""
        for asset in set(assets) - self._asset_hash.keys():
            digest = hashlib.blake2b(f"{self._seed}\0{asset}".encode(), digest_size=8).digest()
            self._asset_hash[asset] = int.from_bytes(digest, "little")
        mixed = np.fromiter((self._asset_hash[asset] for asset in assets), np.uint64, len(assets))
        mixed = mixed + number.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        # the finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))

    def _worst(self, stratum: int) -> np.uint64:
        """The highest rank that stays in a stratum; any does while there is room."""
        ranks = self._strata.get(stratum, [])
        return np.uint64(ranks[-1]) if len(ranks) >= self._each else _LAST

    def _stretch(self, rank: int, asset: str, number: int) -> _Stretch | None:
        """The stretch of that rank, held from now on if it was not; None when others are in its place."""
        if (known := self._held.get(rank)) is not None:
            return known if (known.asset, known.number) == (asset, number) else None
        if rank > int(self._worst(number // self._width)):
            return None
        shape = (LENGTH, len(self.type.channels))
        made = _Stretch(asset, number, -1, np.full(shape, np.nan, np.float32), np.full(shape, Quality.MISSING, np.uint8))
        self._hold(rank, made)
        return self._held.get(rank)

    def _hold(self, rank: int, stretch: _Stretch) -> None:
        self._held[rank] = stretch
        self._strata.setdefault(stretch.number // self._width, []).append(rank)
        self._trim(stretch.number // self._width)
        while len(self._strata) > STRATA:
            self._width *= 2
            held, self._strata = self._held, {}
            for one_rank, one in held.items():
                self._strata.setdefault(one.number // self._width, []).append(one_rank)
            for stratum in list(self._strata):
                self._trim(stratum)

    def _trim(self, stratum: int) -> None:
        ranks = self._strata[stratum]
        ranks.sort()
        for rank in ranks[self._each :]:
            del self._held[rank]
        del ranks[self._each :]

    # ── the file ────────────────────────────────────────────────────────────────────────────────────────────────────

    def save(self, path: Path) -> None:
        """Write all that is held, whole or not at all."""
        ranks = sorted(self._held)
        held = [self._held[rank] for rank in ranks]
        shape = (len(held), LENGTH, len(self.type.channels))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        with temporary.open("wb") as file:
            np.savez(
                file,
                contract=np.array(self.type.contract),
                seed=np.array(self._seed),
                width=np.array(self._width),
                assets=np.array([one.asset for one in held], np.str_),
                place=np.array([(one.number, one.upto) for one in held], np.int64).reshape(-1, 2),
                values=np.array([one.values for one in held], np.float32).reshape(shape),
                quality=np.array([one.quality for one in held], np.uint8).reshape(shape),
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    def load(self, path: Path) -> None:
        """Hold what a file holds. One of another contract or seed, or unreadable, is left alone: the sample starts anew."""
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
            if (str(found["contract"]), int(found["seed"])) != (self.type.contract, self._seed):
                log.info("reservoir-starts-anew", extra={"model": self.type.slug, "found": "a file of another contract or seed"})
                return
            self._width = int(found["width"])
            assets, (number, upto) = [str(asset) for asset in found["assets"]], found["place"].T
            rows = zip(
                self._ranks(assets, number).tolist(),
                assets,
                number.tolist(),
                upto.tolist(),
                found["values"],
                found["quality"],
                strict=True,
            )
            for rank, *one in rows:
                self._hold(rank, _Stretch(*one))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            self._held, self._strata, self._width = {}, {}, 1
            log.warning("reservoir-starts-anew", extra={"model": self.type.slug, "found": f"{path.name}: {error}"})


def _fill(held: _Stretch, step: NDArray[np.int64], values: NDArray[np.float32], quality: NDArray[np.uint8]) -> None:
    """Take the steps that are newer than what is there: steps of a twin close in order."""
    new = step > held.upto
    if not new.any():
        return
    at = step[new] - held.number * LENGTH
    missing = np.isnan(values[new])
    held.values[at] = values[new]
    held.quality[at] = np.where(missing, quality[new] | np.uint8(Quality.MISSING), quality[new])
    held.upto = int(step.max())
