"""Training: from closed steps of one twin type to a version, first training and fine-tuning alike.

In:   a `StepBlock`, the version to start from or None.
Out:  `Trained`: the version, ready to be written and gated, and figures of the training.
Same block, base, seed and thread count → same bytes.

A twin's usable steps before the hold-out are split in time (`models.split`): some train, some calibrate. The hold-out (the
newest steps of the block) is touched by neither: the gate judges on it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from models import alarm_rate, fleet_fit, level, pattern, version
from models.carrying import carry_over, sort_out
from models.coverage import usual_share
from models.detectors import Detectors, Layout
from models.fault_labels import LabelledPeriod
from models.fault_learning import faults_of
from models.fault_report import FaultReport
from models.forecast_training import calibration_loss, fit_forecaster
from models.network import Architecture, Forecaster
from models.old_regime import for_training_and_judging, scaled
from models.served import ServedModel, VersionInfo
from models.split import bad_marked, holdout_steps, only_twins, split_in_time
from models.structure import Structure, restructured
from models.stuck_runs import learn_runs
from models.table_fitting import fit_all_tables
from models.update import LossName
from models.windows import DAY_NS, WEEK_NS, calendar, good_cells
from twin.block import StepBlock
from twin.errors import LivetwinError
from twin.stretches import Stretches
from twin.types import TwinType

WINDOW = 64
HORIZONS = 8
LEVEL_DAYS = 2  # a shorter record has not shown which levels are usual: no level is judged
LEVEL_WEEKS = 3  # from so many on a level knows the days of the week


class TrainingImpossible(LivetwinError):
    """The block holds too little to train on; `retriable`, as more steps will come."""

    retriable = True


@dataclass(frozen=True, slots=True)
class Trained:
    """A version as it came out of training. `payload` is the file's content; `model` the same, serving."""

    model: ServedModel
    payload: bytes
    figures: dict[str, float]
    faults: FaultReport | None = None  # None: nothing was labelled


def train(
    *,
    type: TwinType,
    block: StepBlock,
    base: ServedModel | None,
    number: int,
    alarms_per_twin_day: float,
    seed: int,
    threads: int,
    exclude: NDArray[np.bool_] | None = None,
    holdout: int | None = None,
    old: Stretches | None = None,
    anew: bool = False,
    labels: Sequence[LabelledPeriod] = (),
    structure: Structure | None = None,
    loss: LossName = "student",
) -> Trained:
    """Train the version `number` of a type.

    Args:
        type: the compiled twin type; the version carries its contract.
        block: closed steps; only good cells train.
        base: version to fine-tune; its twins of which too little may train are carried over. None: all is trained anew.
        number: puts versions in order.
        alarms_per_twin_day: target that the alarm threshold is calibrated to.
        seed: of initial weights, shuffling and dropout.
        threads: CPU threads.
        exclude: (A, T) steps under an alarm or marked faulty; they neither train nor calibrate.
        holdout: newest steps of the block that are kept for a gate; 0 where no gate will judge; None: as of a first model.
        old: stretches from before the block, what must not train marked bad; some of them train beside the block's steps.
        anew: train anew in spite of a base, unless a twin would have to be carried over from it.
        labels: what people called which period; faults are told apart by them.
        loss: what the forecaster is taught by; its figures are told by `student` all the same.
        structure: of the version's forecaster; None: the base's, of a first model the usual one.

    Raises:
        TrainingImpossible: no twin has enough steps that may train.
        ValueError: `exclude` is of another shape than the block.
    """
    began = time.perf_counter()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    if base is not None and base.contract != type.contract:
        base = None
    known = base.faults if base is not None else None

    # what counts, and which part of it is for what
    holdout = holdout_steps(block) if holdout is None else holdout
    there = good_cells(block.values, block.quality)  # (A, T, C)
    if exclude is not None and exclude.shape != there.shape[:2]:
        raise ValueError(f"{type.slug}: exclude is {exclude.shape}, expected {there.shape[:2]}; nothing was trained")
    good = there if exclude is None else there & ~exclude[:, :, None]
    if anew and not len(sort_out(base, block.assets, there, split_in_time(good, holdout)).carried):
        base = None
    split = split_in_time(good, holdout, newest_train=base is not None)
    twins_of = sort_out(base, block.assets, there, split)
    if not len(twins_of.learnt):
        held = f", {len(twins_of.carried)} twins are known already and mostly left out" if len(twins_of.carried) else ""
        raise TrainingImpossible(
            f"{type.slug} not trained: none of {len(block.assets)} twins has {fleet_fit.TRAIN_STEPS_MIN} good steps to train on "
            f"(most: {int(split.train.sum(axis=1).max(initial=0))} of {block.steps} steps){held}; "
            "tried again when more steps have closed"
        )
    carried = tuple(block.assets[row] for row in twins_of.carried)
    learning = len(block.assets) - len(twins_of.learnt) - len(carried)
    whole = block
    block, good, split = only_twins(block, twins_of.learnt), good[twins_of.learnt], split.only(twins_of.learnt)
    assets = (*block.assets, *carried)  # those that are carried over have the last rows of all tensors
    twins, steps, channels = block.values.shape
    training = good & split.train[:, :, None]

    # scalers, and the record in units of each twin's spread
    loc, scale = fleet_fit.scalers(block.values, training)  # (A, C)
    x = np.where(good, (block.values - loc[:, None]) / scale[:, None], 0.0).clip(-1e4, 1e4).astype(np.float32)
    span_ns = split.holdout_start * block.period_ns
    day = base.info.calendar_day if base is not None else span_ns >= 2 * DAY_NS
    week = base.info.calendar_week if base is not None else span_ns >= 2 * WEEK_NS
    calendars = calendar(block.time_ns(), day=day, week=week)

    # the forecaster
    architecture = Architecture(twins=len(assets), channels=channels, past=WINDOW, horizons=HORIZONS)
    if base is not None:  # its sizes, which may be those of an older release
        architecture = replace(base.info.architecture, twins=len(assets))
    elif structure is not None:
        architecture = replace(architecture, rank=structure.rank, blocks=structure.blocks)
    network = Forecaster(architecture)
    network.step[:twins] = torch.from_numpy(fleet_fit.usual_steps(x, training))
    locs, scales = loc, scale
    if base is not None:
        rows = torch.from_numpy(base.rows(carried))
        network.step[twins:] = base.detectors.network.step[rows]
        fleet_fit.inherit(network, base.detectors.network, base.info.assets, assets)
        locs, scales = (
            np.concatenate([own, theirs[rows].numpy()])
            for own, theirs in ((loc, base.detectors.loc), (scale, base.detectors.scale))
        )
    if base is not None and structure is not None:
        network = restructured(network, structure, lambda one: calibration_loss(one, x, good, calendars, split.calibrate))
    learnt, judged = for_training_and_judging(old) if old is not None else (None, None)
    fit = fit_forecaster(
        network,
        x,
        good,
        calendars,
        split.train,
        split.calibrate,
        fine_tune=base is not None,
        seed=seed,
        old=None if learnt is None else scaled(learnt, assets, locs, scales, day=day, week=week),
        judged=None if judged is None else scaled(judged, assets, locs, scales, day=day, week=week),
        loss=loss,
    )

    # what is fitted in closed form, a twin
    span = base.info.layout.span if base is not None and carried else fleet_fit.span_for(channels, steps)
    centre, basis = fleet_fit.components(x, good, split.train, span)
    weekly = base.info.layout.weekly if base is not None and carried else week and span_ns >= LEVEL_WEEKS * WEEK_NS
    levels = level.fit_fleet(
        x, good, split.train | split.calibrate, calendars, judged=span_ns >= LEVEL_DAYS * DAY_NS, weekly=weekly
    )
    kept = base.detectors.prototypes.cpu().numpy() if base is not None and carried else None
    patterns = pattern.fit_fleet(x, good, split.train | split.calibrate, seed=seed, kept=kept)
    layout = Layout(window=WINDOW, span=span, components=basis.shape[2], prototypes=len(patterns.prototypes), weekly=weekly)
    detectors = Detectors(network.architecture, layout)
    detectors.network.load_state_dict(network.state_dict())
    for buffer, fitted in (
        (detectors.loc, torch.from_numpy(loc)),
        (detectors.scale, torch.from_numpy(scale)),
        (detectors.centre, centre),
        (detectors.basis, basis),
        (detectors.level_weights, torch.from_numpy(levels.weights)),
        (detectors.good_share, torch.from_numpy(usual_share(good, split.calibrate))),
    ):
        buffer[:twins] = fitted
    detectors.prototypes.copy_(torch.from_numpy(patterns.prototypes))
    if base is not None:
        carry_over(detectors, base, carried)
    info = VersionInfo(
        name=type.slug,
        type=type.id,
        contract=type.contract,
        version="",
        channels=block.channels,
        period_ns=block.period_ns,
        assets=assets,
        alarm_p=1e-3,  # until it is calibrated below
        base=None if base is None else base.version,
        trained_from_ns=int(block.time_ns()[0]),
        trained_to_ns=int(block.time_ns()[-1]),
        seed=seed,
        calendar_day=day,
        calendar_week=week,
        architecture=network.architecture,
        layout=detectors.layout,
        alarms_per_twin_day=alarms_per_twin_day,
        holdout_steps=holdout,
        stuck_runs=learn_runs(block.values, good & (split.train | split.calibrate)[:, :, None]),
    )

    # p-values, and the p-value at which steps count towards an alarm
    model = ServedModel(info, detectors, sha256="", device="cpu")
    surprise = fit_all_tables(model, bad_marked(block, good), split.calibrate, levels, patterns)  # (A, T)
    chosen = alarm_rate.choose(surprise, block.period_ns, alarms_per_twin_day)
    info = replace(info, alarm_p=chosen.alarm_p, peak_size=chosen.peak_size)

    # which fault an alarm looks like
    faults, report = None, None
    if labels:
        model = ServedModel(info, detectors, sha256="", device="cpu")
        faults, report = faults_of(model, whole, labels, known, seed=seed)

    info = version.named(info, detectors, number, faults)
    payload = version.encode(info, detectors, faults)
    figures = {
        "loss_train": fit.loss_train,
        "loss_calibration": fit.loss_calibration,
        "loss_one_step": fit.loss_one_step,
        "loss_naive_one_step": fit.loss_naive,
        "loss_old": fit.loss_old,
        "loss_old_before": fit.loss_old_before,
        "samples": float(fit.samples),
        "twins": float(len(assets)),
        "twins_carried": float(len(carried)),
        "twins_learning": float(learning),
        "steps": float(steps),
        "parameters": float(sum(p.numel() for p in network.parameters())),
        "alarm_p": chosen.alarm_p,
        "peak_size": chosen.peak_size,
        "calibration_alarms_per_twin_day": chosen.alarms_per_twin_day,
        "calibration_twin_days": chosen.twin_days,
        "seconds": time.perf_counter() - began,
    }
    figures = {name: value for name, value in figures.items() if math.isfinite(value)}  # old losses: where there are any
    if loss != "student":
        figures[f"taught_by_{loss}"] = 1.0
    served = version.decode(payload, origin=f"{info.name} {info.version}", expect_type=type, behaviour=False)
    return Trained(served, payload, figures | (report.figures() if report is not None else {}), report)
