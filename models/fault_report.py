"""How well faults are told apart: figures of left-out periods, as they stand in a version's record. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class FaultReport:
    """What came of the labels. Figures are of periods that the classifier asked had not been learnt from.

    `classes` are those that are told apart; `confusion[i][j]`: periods of class i that class j was most probable for.
    """

    kept: bool  # the version tells faults
    why: str
    labels: dict[str, int]  # label → labelled periods that the version finds an alarm in
    unseen: int = 0  # labelled periods that it finds none in
    classes: tuple[str, ...] = ()
    accuracy: float = 0.0
    majority: float = 0.0  # accuracy of always saying the most frequent class
    log_loss: float = 0.0  # nats a period
    log_loss_shares: float = 0.0  # of always saying how often each class comes
    precision: tuple[float, ...] = ()
    recall: tuple[float, ...] = ()
    f1: tuple[float, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    unknown: float = 0.0  # share of the periods of which nothing was named
    accuracy_named: float = 0.0  # of the others

    def figures(self) -> dict[str, float]:
        """Those that stand beside a version's other figures."""
        found = {"fault_labels": float(sum(self.labels.values())), "fault_labels_unseen": float(self.unseen)}
        if self.classes:
            found |= {
                "fault_accuracy": self.accuracy,
                "fault_majority": self.majority,
                "fault_f1": float(np.mean(self.f1)),
                "fault_log_loss": self.log_loss,
                "fault_unknown": self.unknown,
            }
        return found


def counted(truth: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Confusion matrix (K, K): what it was by what was said.

    >>> counted(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    found = np.zeros((classes, classes), np.int64)
    np.add.at(found, (truth, said), 1)
    return found


def by_class(confusion: NDArray[np.int64]) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Precision, recall and F1 of each class; 0 where there is nothing to divide by.

    >>> by_class(np.array([[1, 1], [0, 1]]))
    ((1.0, 0.5), (0.5, 1.0), (0.667, 0.667))
    """
    right = np.diag(confusion).astype(np.float64)
    said, truth = confusion.sum(axis=0), confusion.sum(axis=1)
    precision, recall = right / np.maximum(said, 1), right / np.maximum(truth, 1)
    f1 = 2 * right / np.maximum(said + truth, 1)
    shown = [tuple(float(one) for one in found.round(3)) for found in (precision, recall, f1)]
    return shown[0], shown[1], shown[2]
