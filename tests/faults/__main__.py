"""Disturb a real system, hundreds of times, from a seed: `make test-faults ARGS="--seed 7 --rounds 100"`.

Each round hurts one to three parts at once. Ends with status 1 at the first difference from the undisturbed run, whose seed and
round it names; the folder with logs, broker and store is kept then.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from deploy.influxd import built
from deploy.kafka import EmbeddedKafka
from tests.faults import memory, store_outage
from tests.faults.campaign import Campaign
from tests.faults.injections import ALL, Injection
from tests.faults.system import running_system
from tests.streams.plant import trained, variant


def choose(pick: random.Random, known: list[Injection], at_least: int, at_most: int) -> list[Injection]:
    """Some injections, of different targets."""
    found: list[Injection] = []
    for _ in range(pick.randint(at_least, at_most)):
        left = [one for one in known if one.target not in {chosen.target for chosen in found}]
        if left:
            found.append(pick.choices(left, [one.weight for one in left])[0])
    return found


async def run(arguments: argparse.Namespace, folder: Path) -> None:
    first = trained()
    models = [first, variant(first, 2), variant(first, 3)]
    known = [one for one in ALL if one.target != "trainer" or arguments.trainer_every_s]
    if arguments.only:
        known = [one for one in known if one.name in arguments.only.split(",")]
    pick = random.Random(arguments.seed)
    async with running_system(folder, models, trainer_every_s=arguments.trainer_every_s or None) as system:
        campaign = Campaign(system, arguments.seed, lambda line: print(line, flush=True))
        try:
            await campaign.begin()
            for _ in range(arguments.rounds):
                await campaign.round(choose(pick, known, arguments.at_least, arguments.at_once))
            await campaign.end()
        finally:
            report = campaign.report
            total = sum(report.injections.values())
            print(f"{report.rounds} rounds, {total} injections, all as undisturbed: {dict(report.injections.most_common())}")
            print(f"{report.records} records, {report.refused} refused, {report.alerts} alert revisions")
            print(f"written again, the same: {dict(report.repeated)}; of former owners, ignored: {report.of_former_owners}")
            print(f"roles that ended by themselves and were started again: {dict(system.fell)}")


async def outage(folder: Path, seconds: float) -> None:
    load = store_outage.Load(warm_up_mib=8, outage_mib=seconds, outage_s=seconds)
    with EmbeddedKafka(folder / "kafka", port=0) as kafka:
        await store_outage.run(kafka.bootstrap, "f.", folder, built(), load, lambda line: print(line, flush=True))


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test-faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="default: a random one, which is printed")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=3, help="most injections in one round")
    parser.add_argument("--at-least", type=int, default=1, help="fewest injections in one round")
    parser.add_argument("--only", help="names of injections, by comma")
    parser.add_argument("--trainer-every-s", type=float, default=20.0, help="a real trainer trains that often; 0: none")
    parser.add_argument("--memory", type=int, metavar="RECORDS", help="instead: put so many through a processor, does it grow?")
    parser.add_argument(
        "--store-outage",
        type=float,
        metavar="SECONDS",
        help="instead: an InfluxDB stands still so long, a MiB of history a second",
    )
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(10**6)
    logging.disable(logging.CRITICAL)  # the clients' of this process: a broker that is away is no news here
    folder = Path(tempfile.mkdtemp(prefix="livetwin-faults-"))
    what = f"seed {arguments.seed}, {arguments.rounds} rounds"
    if arguments.memory or arguments.store_outage:
        what = f"{arguments.memory} records" if arguments.memory else f"{arguments.store_outage:g} s without a store"
    print(f"{what}, in {folder}", flush=True)
    began = time.monotonic()
    try:
        if arguments.memory:
            asyncio.run(memory.run(folder, arguments.memory, lambda line: print(line, flush=True)))
        elif arguments.store_outage:
            asyncio.run(outage(folder, arguments.store_outage))
        else:
            asyncio.run(run(arguments, folder))
    except Exception:  # noqa: BLE001  whatever it was, its seed and its logs are told
        traceback.print_exc()
        print(f"failed after {time.monotonic() - began:.0f} s; seed {arguments.seed}; logs are kept in {folder}")
        return 1
    shutil.rmtree(folder)
    print(f"all good after {time.monotonic() - began:.0f} s; seed {arguments.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
