"""`livetwin score FILE…`: the stream's own code path over files: decode, fold, train, score, risk.

In:   CSV, Parquet, Arrow or JSON lines; how many first rows are known to be normal.
Out:  a row for each row of the file, in its order: time, asset, score, risk, alert, top_channel; CSV or Parquet.
No labels are read and none are needed; the same file, seed and settings give the same scores.

Risk, and with it the alert, is the stream's. The score ranks the steps of a file (`deploy/score_ranking.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress, TaskID

from deploy.feeds.file_columns import FileReadings
from deploy.feeds.file_records import records
from deploy.feeds.file_table import FileRefused
from deploy.score_input import read_input
from deploy.score_ranking import Ranking
from deploy.score_table import StepScores, score_table, write
from deploy.settings import ProcessorSettings
from models.port import Served
from models.stillness import Stillness, fit_stillness
from models.training import TrainingImpossible, train
from streams.definitions import Definitions
from streams.folding import Folder
from streams.log_record import PlainRecord
from streams.scoring import Scored, Switches, TypeScorer
from streams.step_blocks import StepBlockBuilder
from twin.arena import ClosedSteps
from twin.fleet import TwinDeclaration
from twin.infer import infer_type
from twin.types import TwinType

UNTOLD_ROWS_MIN = 100  # an asset
UNTOLD_SHARE = 0.15  # rows taken as normal where --train does not say: what benchmarks call the probationary period
ROWS_AT_ONCE = 2_000
STEPS_LEARNT_FROM_MAX = 50_000  # of the grid, the newest ones


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
    file = read_input(path, time_column=time_column, asset_column=asset_column)
    readings = file.readings
    for note in file.notes:
        progress.console.print(f"{path.name}: {note}", highlight=False, markup=False, soft_wrap=True)
    normal = min(_untold(readings) if train_rows is None else train_rows, len(readings.time_ns))
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
    scores = _score(definitions, kind, readings, model, fit_stillness(block), progress, task)
    return score_table(file, kind, scores)


def _untold(readings: FileReadings) -> int:
    """Rows taken as normal where nobody says: enough of each asset to learn from, also in a short file."""
    assets = len(np.unique(readings.asset.astype(str)))
    return max(round(UNTOLD_SHARE * len(readings.time_ns)), UNTOLD_ROWS_MIN * assets)


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
            if len(record) <= len(("asset", "time")):
                continue  # no channel has a number
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
    definitions: Definitions,
    kind: TwinType,
    readings: FileReadings,
    model: Served,
    still: Stillness,
    progress: Progress,
    task: TaskID,
) -> StepScores:
    out = StepScores([], [], [], [], [], [])
    folder = Folder(definitions)
    scorer = TypeScorer(folder.arena(kind))
    scorer.switches[0] = Switches()
    scorer.switches[0].add(0, model)
    ranking = Ranking(len(kind.channels), still)
    for closed, assets in _closed(folder, readings, len(readings.time_ns), progress, task):
        ranking.grow(folder.arena(kind).capacity)
        _take(out, scorer.score(closed, explained=True), ranking, assets)
    return out


def _take(out: StepScores, scored: Scored, ranking: Ranking, assets: list[str]) -> None:
    score, contribution = ranking.update(scored, assets)
    out.asset += assets
    out.step.append(scored.closed.step)
    out.score.append(score)
    out.risk.append(scored.risk)
    out.alert.append(scored.alarm.astype(np.int8))
    out.top.append(np.where(contribution.sum(axis=1) > 0, contribution.argmax(axis=1), -1))


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
            written = out if single else out / f"{called(path, files)}.csv"
            write(table, written)
            alerts = int(np.sum(table.column("alert").to_numpy()))
            told = f"{written}: {table.num_rows:,} rows of {path.name} scored, {alerts:,} of them under an alert"
            progress.console.print(told, highlight=False, markup=False, soft_wrap=True)
    if refused:
        raise FileRefused(f"{len(refused)} of {len(files)} files were not scored (see above); the others are in {out}")


def called(path: Path, files: list[Path]) -> str:
    """Name of the scores of one of several files: up to the first dot, unless another would be called the same."""
    short = path.name.split(".")[0]
    return path.name.removesuffix(".csv") if sum(one.name.split(".")[0] == short for one in files) > 1 else short
