"""Records of `definitions` whose key says what they speak of: read, and held against their key.

In:   key and value of a record, the model it is to be.
Out:  the record; RecordInvalid for a value that is none, or that stands under another's key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from twin.errors import LivetwinError

_M = TypeVar("_M", bound=BaseModel)


class RecordInvalid(LivetwinError):
    """A record that is not what its key says."""


def read_keyed(model: type[_M], key: str, value: bytes, key_of: Callable[[_M], str]) -> _M:
    """One record.

    Args:
        key_of: the key that a record of this kind stands under.

    Raises:
        RecordInvalid: the message names the key, what was found and what was expected.
    """
    try:
        found = model.model_validate_json(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "value"
        raise RecordInvalid(f"{key!r} is no {model.__name__}: {place}: {first['msg']}; not used") from error
    if key_of(found) != key:
        raise RecordInvalid(f"a {model.__name__} of {key_of(found)!r} stands under the key {key!r}; not used")
    return found
