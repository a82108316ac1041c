"""The tree of errors that every room builds on.

LivetwinError
├── TypeInvalid         a twin definition that can't be used as written
├── UnitUnusable        a unit that is not known, or that does not convert to the type's
├── ReadingRefused      one record that can't become readings (goes to dead-letter, the stream goes on)
└── CheckpointRefused   saved twin state that does not fit this code or this type

Every message says which thing, what was found, what was expected and what happens now.
"""


class LivetwinError(Exception):
    """Base of all errors raised on purpose. `retriable` says whether trying again can help."""

    retriable: bool = False


class TypeInvalid(LivetwinError):
    """A DTDL interface or twin declaration that can't be compiled. The message lists all that is wrong with it."""


class UnitUnusable(LivetwinError):
    """A unit that nobody knows, or that measures something else than the type's."""


class ReadingRefused(LivetwinError):
    """A record that can't be decoded into readings, or breaks its type's contract.

    `reason` is the short machine-readable word that the dead-letter header carries.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CheckpointRefused(LivetwinError):
    """A saved state that was written by another schema or for another contract."""
