"""What Kafka clients log while a broker is away, said once in a while instead of a hundred times a second."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_REPEATING = (
    "aiokafka",
    "aiokafka.cluster",
    "aiokafka.conn",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
    "aiokafka.producer.sender",
)


class OncePer(logging.Filter):
    """Lets a message through when its template was not let through in the last `period_s` seconds; says how many it kept back."""

    def __init__(self, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._period_s = period_s
        self._clock = clock
        self._passed: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        template, now = str(record.msg), self._clock()
        since, kept_back = self._passed.get(template, (float("-inf"), 0))
        if now - since < self._period_s:
            self._passed[template] = (since, kept_back + 1)
            return False
        self._passed[template] = (now, 0)
        if kept_back:
            record.msg = f"{record.msg} (and {kept_back} times since this was last said)"
        return True


def limit_client_logs(period_s: float = 10.0) -> None:
    """Warnings and errors of Kafka clients, each kind at most once per period."""
    for name in _REPEATING:
        logger = logging.getLogger(name)
        if not any(isinstance(found, OncePer) for found in logger.filters):
            logger.addFilter(OncePer(period_s))
