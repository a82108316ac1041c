"""Learning to tell faults: from labelled periods to a `FaultHead`, or the reason why there is none.

In:   `Examples` of a version.
Out:  the head, and a `FaultReport` of how it did on periods that were left out.
Same input and seed → same head.

Multinomial logistic regression: cross-entropy with an L2 penalty, every class weighing the same in all and each of its periods
the same. Folds are stratified, and never part what is one event: a period, or periods of one label that overlap in time.
What the left-out folds said fits the temperature (Guo et al., ICML 2017), the distance beyond which nothing is named, and decides
whether there is a head at all: it has to beat always saying the most frequent class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from models.fault_file import Faults
from models.fault_head import FaultHead, posterior, scaled
from models.fault_labels import Examples, LabelledPeriod, events_of, examples
from models.fault_report import FaultReport, by_class, counted
from models.port import Served
from twin.block import StepBlock

EVENTS_MIN: Final = 4  # of a class: fewer say too little of what such faults have in common
FOLDS_MOST: Final = 5
L2: Final = 0.03
SPREAD_MIN: Final = 0.05  # of a feature: one that hardly ever changed says little when it does
WITHIN_REACH: Final = 0.95  # share of the left-out periods that something may be named of
TEMPERATURES: Final = tuple(np.geomspace(0.25, 8.0, 61).tolist())
ITERATIONS: Final = 200

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _LeftOut:
    """What was said of each period by a head that had not learnt from its event."""

    logits: Floats  # (P, K)
    share: Floats  # (P, K) of the classes in the other folds
    distance: Floats  # (P,)


def faults_of(
    served: Served, block: StepBlock, labels: Sequence[LabelledPeriod], before: Faults | None, *, seed: int
) -> tuple[Faults | None, FaultReport]:
    """What a version knows of faults by people's labels, and how well; nothing where it would have alarmed for none of them.

    Args:
        served: the version, calibrated.
        block: closed steps, also those that must not train.
        labels: the newest word last.
        before: what the version before knew.
    """
    found = examples(served, block, labels, before.examples if before is not None else None)
    head, report = learn(found, seed=seed)
    return (Faults(found, head) if found.periods else None), report


def learn(found: Examples, *, seed: int) -> tuple[FaultHead | None, FaultReport]:
    """A head for the labels of which there are enough."""
    labels = dict(sorted(Counter(one.label for one in found.periods).items()))
    events = events_of(found.periods)
    of_class = Counter(found.periods[int(np.flatnonzero(events == event)[0])].label for event in np.unique(events).tolist())
    classes = tuple(label for label in labels if of_class[label] >= EVENTS_MIN)
    few = [f"{label} ({of_class[label]})" for label in labels if label not in classes]
    beside = f"; too few of {', '.join(few)}" if few else ""
    report = FaultReport(False, "", labels, found.unseen)
    if len(classes) < 2:
        told = f"{', '.join(classes) or 'nothing'} was labelled {EVENTS_MIN} times at least, two classes expected{beside}"
        return None, replace(report, why=f"faults are not told apart: {told}")
    used = found.of(classes)
    truth = np.array([classes.index(one.label) for one in used.periods])
    left_out = _left_out(used, truth, len(classes), _folds(events_of(used.periods), truth, seed))
    temperature = min(TEMPERATURES, key=lambda one: _log_loss(_said(left_out, one), truth))
    reach = float(np.quantile(left_out.distance, WITHIN_REACH))
    report = _report(report, classes, truth, left_out, temperature, reach)
    against = f"accuracy {report.accuracy:.2f} on left-out periods, {report.majority:.2f} by always saying the most frequent one"
    if report.accuracy <= report.majority or report.log_loss >= report.log_loss_shares:
        losses = f"log loss {report.log_loss:.2f}, {report.log_loss_shares:.2f} by how often each came"
        return None, replace(report, why=f"faults are not told apart: {against}, {losses}{beside}")
    head = replace(_fitted(classes, used, truth), temperature=temperature, reach=reach)
    return head, replace(report, kept=True, why=f"{', '.join(classes)}: {against}{beside}")


def _folds(events: Ints, truth: Ints, seed: int) -> Ints:
    """(P,) a fold for each period: the events of each class are dealt out in random order."""
    draw = np.random.default_rng(seed)
    dealt = dict[int, int]()
    fewest = min(len(np.unique(events[truth == one])) for one in np.unique(truth).tolist())
    for one in np.unique(truth).tolist():
        mixed = draw.permutation(np.unique(events[truth == one]))
        dealt |= {event: place % min(FOLDS_MOST, fewest) for place, event in enumerate(mixed.tolist())}
    return np.array([dealt[event] for event in events.tolist()])


def _left_out(found: Examples, truth: Ints, classes: int, folds: Ints) -> _LeftOut:
    told = _LeftOut(np.zeros((len(truth), classes)), np.zeros((len(truth), classes)), np.zeros(len(truth)))
    for fold in np.unique(folds).tolist():
        out = np.flatnonzero(folds == fold)
        others = np.flatnonzero(folds != fold)
        head = _fitted(tuple(map(str, range(classes))), found.among(others), truth[others])
        z = head.scaled(found.features[found.telling[out]])
        told.logits[out], told.share[out] = z @ head.weights.T + head.bias, head.share
        told.distance[out] = [head.distance(row) for row in z]
    return told


def _fitted(classes: tuple[str, ...], found: Examples, truth: Ints) -> FaultHead:
    """Fit on all examples given; temperature and reach are not known yet."""
    of_period = 1.0 / np.bincount(found.period)
    of_class = 1.0 / np.bincount(truth, minlength=len(classes))
    weight = of_period[found.period] * of_class[truth[found.period]]
    weight /= weight.sum()
    centre = weight @ found.features
    spread = np.maximum(np.sqrt(weight @ np.square(found.features - centre)), SPREAD_MIN)
    z = scaled(found.features, centre, spread)
    weights, bias = _regression(z, truth[found.period], weight, len(classes))
    share = np.bincount(truth, minlength=len(classes)) / len(truth)
    return FaultHead(classes, centre, spread, weights, bias, share, z, 1.0, float("inf"))


def _regression(z: Floats, truth: Ints, weight: Floats, classes: int) -> tuple[Floats, Floats]:
    """Weights (K, F) and bias (K,) of the least penalised cross-entropy: convex, so where it begins does not matter."""
    inputs, targets, counts = torch.from_numpy(z), torch.from_numpy(truth), torch.from_numpy(weight)
    weights = torch.zeros(classes, z.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        entropy = torch.nn.functional.cross_entropy(inputs @ weights.T + bias, targets, reduction="none")
        found = (counts * entropy).sum() + L2 * weights.square().sum()
        torch.autograd.backward(found)
        return found

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach().numpy(), bias.detach().numpy()


def _said(left_out: _LeftOut, temperature: float) -> Floats:
    return posterior(left_out.logits, left_out.share, temperature)


def _log_loss(probabilities: Floats, truth: Ints) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12)).mean())


def _report(
    report: FaultReport, classes: tuple[str, ...], truth: Ints, left_out: _LeftOut, temperature: float, reach: float
) -> FaultReport:
    probabilities = _said(left_out, temperature)
    said = probabilities.argmax(axis=1)
    best = np.arange(len(truth)), said
    named = (left_out.distance <= reach) & (probabilities[best] > left_out.share[best])
    confusion = counted(truth, said, len(classes))
    precision, recall, f1 = by_class(confusion)
    return replace(
        report,
        classes=classes,
        accuracy=round(float((said == truth).mean()), 4),
        majority=round(float(np.bincount(truth).max() / len(truth)), 4),
        log_loss=round(_log_loss(probabilities, truth), 4),
        log_loss_shares=round(_log_loss(left_out.share, truth), 4),
        precision=precision,
        recall=recall,
        f1=f1,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        unknown=round(float(1 - named.mean()), 4),
        accuracy_named=round(float((said == truth)[named].mean()), 4) if named.any() else 0.0,
    )
