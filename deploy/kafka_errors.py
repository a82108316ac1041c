"""Why there is no broker.

KafkaUnavailable
├── JavaMissing          no Java, or too old
├── DownloadFailed       the jars could not be fetched (retriable)
├── CacheDamaged         a cached jar is not the one that was pinned
├── DiskFull             not enough room for the jars or the log
├── PortTaken            somebody else listens there
├── DataFolderRefused    the folder is in use, or belongs to another cluster
├── StartAbandoned       it was told to end while it started
└── BrokerDidNotStart    the process ended or did not answer in time

Each message says what to do; another broker by LIVETWIN_KAFKA=HOST:PORT always works.
"""

from __future__ import annotations

from twin.errors import LivetwinError

ANOTHER_BROKER = "or name another broker by LIVETWIN_KAFKA=HOST:PORT"


class KafkaUnavailable(LivetwinError):
    """No broker to work with."""


class JavaMissing(KafkaUnavailable):
    """No Java 17 or newer."""


class DownloadFailed(KafkaUnavailable):
    """Kafka's jars could not be fetched."""

    retriable = True


class CacheDamaged(KafkaUnavailable):
    """A cached jar is missing or has another checksum than the pinned one."""


class DiskFull(KafkaUnavailable):
    """Too little free space."""


class PortTaken(KafkaUnavailable):
    """Another process listens on the port."""


class DataFolderRefused(KafkaUnavailable):
    """The data folder is held by a running broker, or was written by another cluster or a newer Kafka."""


class StartAbandoned(KafkaUnavailable):
    """It was told to end before it answered."""


class BrokerDidNotStart(KafkaUnavailable):
    """The process ended, or did not answer a metadata request in time."""
