"""What one record may hold, and how many assets and types may come. One place; docs/limits.md says what happens past each."""

from __future__ import annotations

MAX_ASSET = 256  # characters of an asset id
MAX_READINGS = 100_000  # times in one record: rows of a table, length of a column
MAX_CHANNELS = 1_000  # channels in one record, and of a type that is inferred
MAX_VALUES = 2_000_000  # readings × channels of one record
MAX_ARROW_BYTES = 64 << 20  # what an Arrow record claims to take once it is decompressed
MAX_ARROW_MESSAGES = 4_096  # batches and dictionaries of one Arrow record
MOST_ASSETS = 1_000_000  # that have a home, over all partitions; every process must know the same number
MOST_TYPES = 10_000  # declared and inferred; no more are inferred then
