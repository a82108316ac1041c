"""An inferred type gets channels that its assets did not send at first: a new revision of it.

In:   the interface as it is, names and units of new channels.
Out:  the interface of the next revision. Its name tells what is in it: whoever grows a type in the same way makes the same one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

INFERRED = "dtmi:livetwin:inferred:"
MOST_REVISIONS = 32
_REVISION = re.compile(r":R[0-9a-f]{8}$")


def can_grow(identifier: str) -> bool:
    """Whether a type was inferred, and has not grown too often: a source that names a channel anew each time must end.

    >>> can_grow("dtmi:livetwin:inferred:Pump;1"), can_grow("dtmi:plant:Pump;1"), can_grow("dtmi:livetwin:inferred:Pump;32")
    (True, False, False)
    """
    return identifier.startswith(INFERRED) and int(identifier.rpartition(";")[2]) < MOST_REVISIONS


def grown(interface: Mapping[str, Any], new: Mapping[str, str | None]) -> dict[str, Any]:
    """The next revision, with more telemetry.

    Args:
        new: names of channels, with the unit that each states.

    >>> grown({"@id": "dtmi:livetwin:inferred:Pump;1", "contents": []}, {"flow": None})["@id"]
    'dtmi:livetwin:inferred:Pump:R3b6ca418;2'
    """
    path, _, number = str(interface["@id"]).rpartition(";")
    contents = list(interface["contents"])
    for name, unit in sorted(new.items()):
        contents.append({"@type": "Telemetry", "name": name, "schema": "double", **({"unit": unit} if unit else {})})
    document = {**interface, "contents": contents}
    wording = json.dumps([document[key] for key in sorted(document) if key != "@id"], sort_keys=True)
    digest = hashlib.sha256(wording.encode()).hexdigest()[:8]
    return {**document, "@id": f"{_REVISION.sub('', path)}:R{digest};{int(number) + 1}"}
