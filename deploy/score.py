"""`livetwin score FILE…`: the stream's own code path over files: decode, fold, train, score, risk.

In:   CSV, Parquet, Arrow or JSON lines; how many first rows are known to be normal.
Out:  one row a reading of the file: time, asset, score, risk, alert, top_channel; CSV or Parquet.
No labels are read and none are needed; the same file, seed and settings give the same scores.

Risk, and with it the alert, is the stream's. The score ranks the steps of a file: the version's surprise, lately too, and how
new a value is to its channel (`models/novelty.py`), which needs all of the past.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress, TaskID

from deploy.feeds.file_columns import FileReadings, to_readings
from deploy.feeds.file_records import records
from deploy.feeds.file_table import FileRefused, read_table
from deploy.settings import ProcessorSettings
from models.novelty import LastingSurprise, NoveltyState, strangeness
from models.port import Served
from models.training import TrainingImpossible, train
from models.windows import good_cells
from streams.definitions import Definitions
from streams.folding import Folder
from streams.log_record import PlainRecord
from streams.scoring import Scored, Switches, TypeScorer
from streams.step_blocks import StepBlockBuilder
from twin.arena import ClosedSteps
from twin.fleet import TwinDeclaration
from twin.infer import infer_type
from twin.types import TwinType

UNTOLD_SHARE = 0.15  # rows taken as normal where --train does not say: what benchmarks call the probationary period
ROWS_AT_ONCE = 2_000
STEPS_LEARNT_FROM_MAX = 50_000  # of the grid, the newest ones


@dataclass(slots=True)
class StepScores:
    """What each closed step got, by asset and step."""

    asset: list[str]
    step: list[NDArray[np.int64]]
    score: list[NDArray[np.float32]]
    risk: list[NDArray[np.float32]]
    alert: list[NDArray[np.int8]]
    top: list[NDArray[np.int64]]


def score_file(
    path: Path,
    *,
    train_rows: int | None,
    seed: int,
    alarms_per_twin_day: float,
    asset_column: str | None,
    time_column: str | None,
    progress: Progress,
) -> pa.Table:
    """Score one file.

    Args:
        train_rows: the first rows, by time, that are known to be normal; None: the first 15 %.

    Raises:
        FileRefused: the file can't be read, or its normal rows are too few to learn from.
    """
    source = read_table(path, time_column)
    readings = to_readings(source, path.name.split(".")[0], time_column, asset_column)
    normal = round(UNTOLD_SHARE * len(readings.time_ns)) if train_rows is None else min(train_rows, len(readings.time_ns))
    definitions, kind = _declared(path, readings)
    task = progress.add_task(path.name, total=len(readings.time_ns) + normal)
    builder = StepBlockBuilder(kind, max_steps=_steps_spanned(readings.time_ns[:normal], kind.period_ns))
    for closed, assets in _closed(Folder(definitions), readings, normal, progress, task):
        builder.add(assets, closed.step, closed.values, closed.quality)
    try:
        block = builder.block()
        model = train(
            type=kind,
            block=block,
            base=None,
            number=1,
            alarms_per_twin_day=alarms_per_twin_day,
            seed=seed,
            threads=1,
            holdout=0,
        ).model
    except (TrainingImpossible, ValueError) as error:
        raise FileRefused(f"{path}: the first {normal} rows can't be learnt from ({error}); nothing was scored") from error
    scores = _score(definitions, kind, readings, model, progress, task)
    return _table(readings, kind, scores)


def _steps_spanned(time_ns: NDArray[np.int64], period_ns: int) -> int:
    """Steps of the grid from the first reading to the last: more than there are readings where some are missing.

    >>> _steps_spanned(np.array([0, 10, 11, 95]), 10)
    10
    """
    return int(min(time_ns[-1] // period_ns - time_ns[0] // period_ns + 1, STEPS_LEARNT_FROM_MAX)) if len(time_ns) else 1


def _declared(path: Path, readings: FileReadings) -> tuple[Definitions, TwinType]:
    interface = infer_type(path.name.split(".")[0], readings.channels, readings.time_ns, readings.asset.astype(str))
    interface["maxAhead"] = None
    definitions = Definitions()
    definitions.apply(f"type/{interface['@id']}".encode(), orjson.dumps(interface))
    for asset in sorted(set(readings.asset.tolist())):
        declaration = TwinDeclaration(asset=asset, type=interface["@id"])
        definitions.apply(f"twin/{asset}".encode(), declaration.model_dump_json().encode())
    return definitions, definitions.types[interface["@id"]]


def _closed(
    folder: Folder, readings: FileReadings, end: int, progress: Progress, task: TaskID
) -> Iterator[tuple[ClosedSteps, list[str]]]:
    """Closed steps of the first `end` rows, as the processor would see them, and at the end those still open."""
    offset = 0
    for start in range(0, end, ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, end)
        batch = []
        for record in records(readings, start, stop):
            batch.append(PlainRecord("file", 0, offset, int(readings.time_ns[stop - 1] // 1_000_000), None, orjson.dumps(record)))
            offset += 1
        for closed in folder.fold(batch).closed:
            yield closed, _names(folder, closed)
        progress.advance(task, stop - start)
    for arena in folder.arenas.values():
        for closed in arena.close_all():
            yield closed, _names(folder, closed)


def _names(folder: Folder, closed: ClosedSteps) -> list[str]:
    assets = folder.arenas[closed.type.id].asset_of
    return [assets[row] or "" for row in closed.row.tolist()]


def _score(
    definitions: Definitions, kind: TwinType, readings: FileReadings, model: Served, progress: Progress, task: TaskID
) -> StepScores:
    out = StepScores([], [], [], [], [], [])
    folder = Folder(definitions)
    scorer = TypeScorer(folder.arena(kind))
    scorer.switches[0] = Switches()
    scorer.switches[0].add(0, model)
    novelty, lasting = NoveltyState(0, len(kind.channels)), LastingSurprise(0)
    for closed, assets in _closed(folder, readings, len(readings.time_ns), progress, task):
        for state in (novelty, lasting):
            state.grow(folder.arena(kind).capacity)
        _take(out, scorer.score(closed, explained=True), novelty, lasting, assets)
    return out


def _take(out: StepScores, scored: Scored, novelty: NoveltyState, lasting: LastingSurprise, assets: list[str]) -> None:
    closed = scored.closed
    novel = novelty.update(closed.row, closed.values, good_cells(closed.values, closed.quality))
    score, contribution = strangeness(lasting.update(closed.row, scored.score), scored.contribution, novel)
    out.asset += assets
    out.step.append(closed.step)
    out.score.append(score)
    out.risk.append(scored.risk)
    out.alert.append(scored.alarm.astype(np.int8))
    out.top.append(np.where(contribution.sum(axis=1) > 0, contribution.argmax(axis=1), -1))


def _table(readings: FileReadings, kind: TwinType, scores: StepScores) -> pa.Table:
    """A row a reading: the scores of the step it fell into."""
    names, code = np.unique(readings.asset.astype(str), return_inverse=True)
    at = np.searchsorted(names, np.array(scores.asset, dtype=names.dtype))
    step = np.concatenate(scores.step)
    low = int(step.min())
    width = int(step.max()) - low + 1
    keys = at * width + (step - low)
    order = np.argsort(keys)
    wanted = code * width + (readings.time_ns // kind.period_ns - low)
    found = order[np.searchsorted(keys[order], wanted)]
    top = np.concatenate(scores.top)[found]
    channels = np.array([*kind.channel_names, ""], dtype=object)
    return pa.table(
        {
            "time": pa.array(readings.time_ns, pa.int64()).cast(pa.timestamp("ns", "UTC")),
            "asset": pa.array(readings.asset.astype(str)),
            "score": np.concatenate(scores.score)[found],
            "risk": np.concatenate(scores.risk)[found],
            "alert": np.concatenate(scores.alert)[found],
            "top_channel": pa.array(channels[top]),
        }
    )


def write(table: pa.Table, path: Path) -> None:
    """By the name's end: .csv or .parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
        return
    text = pa.array(
        [f"{moment}Z" for moment in table.column("time").cast(pa.timestamp("ns")).to_numpy().astype("datetime64[ns]")]
    )
    pyarrow.csv.write_csv(table.set_column(0, "time", text), path)


def score_all(
    files: list[Path], *, out: Path, train_rows: int | None, seed: int, asset_column: str | None, time_column: str | None
) -> None:
    """Score files, one table each, into `out`: a file, or a folder where there are several.

    Raises:
        FileRefused: `out` is a file for several inputs, or, after all others are done, an input can't be scored.
    """
    refused: list[FileRefused] = []
    single = out.suffix in (".csv", ".parquet")
    if single and len(files) > 1:
        raise FileRefused(f"--out {out} is one file for {len(files)} inputs, expected a folder; nothing was scored")
    with Progress(console=Console(stderr=True)) as progress:
        for path in files:
            try:
                table = score_file(
                    path,
                    train_rows=train_rows,
                    seed=seed,
                    alarms_per_twin_day=ProcessorSettings().alarms_per_twin_day,
                    asset_column=asset_column,
                    time_column=time_column,
                    progress=progress,
                )
            except FileRefused as error:
                refused.append(error)
                progress.console.print(f"livetwin: {error}", highlight=False, markup=False, soft_wrap=True)
                continue
            written = out if single else out / f"{path.name.split('.')[0]}.csv"
            write(table, written)
            alerts = int(np.sum(table.column("alert").to_numpy()))
            told = f"{written}: {table.num_rows:,} rows of {path.name} scored, {alerts:,} of them under an alert"
            progress.console.print(told, highlight=False, markup=False, soft_wrap=True)
    if refused:
        raise FileRefused(f"{len(refused)} of {len(files)} files were not scored (see above); the others are in {out}")
