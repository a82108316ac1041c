"""What an Arrow IPC stream claims to be, looked up before any of it is decoded: rows, buffers, bytes once decompressed.

In:   the bytes of one stream.
Out:  nothing; ReadingRefused for a stream that is cut, damaged, or would take more than a record may.
A few bytes can claim gigabytes (compressed buffers, lengths without buffers), and Arrow's reader would allocate them.
Only the few fields of the FlatBuffers metadata that bound memory are read; whatever they say is then checked by Arrow itself.

Source: Apache Arrow columnar format, "Serialization and Interprocess Communication"; FlatBuffers internals.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from streams.formats.limits import MAX_ARROW_BYTES, MAX_ARROW_MESSAGES, MAX_READINGS
from twin.errors import ReadingRefused

CONTINUATION = b"\xff\xff\xff\xff"
_DICTIONARY, _RECORDS = 2, 3  # MessageHeader
_BUFFER = struct.Struct("<qq")  # offset, length
_U16, _I32, _U32, _I64 = (struct.Struct(code) for code in ("<H", "<i", "<I", "<q"))


def check_claims(stream: bytes) -> None:
    """Raises ReadingRefused with reason `arrow` or `size`."""
    rows = claimed = messages = 0
    try:
        for metadata, body in _messages(memoryview(stream)):
            kind, header = _header(metadata)
            if kind not in (_DICTIONARY, _RECORDS):
                continue
            messages += 1
            if kind == _DICTIONARY:
                header = _table(metadata, header, 1)
            length = _number(metadata, header, 0)
            if kind == _RECORDS:
                rows += length
            elif length > MAX_READINGS:
                raise _too_large(f"a dictionary of {length} entries", f"{MAX_READINGS} at most")
            claimed += _decoded_bytes(metadata, header, body)
            if length < 0 or rows > MAX_READINGS:
                raise _too_large(f"{rows} rows", f"1 to {MAX_READINGS}")
            if claimed > MAX_ARROW_BYTES:
                raise _too_large(f"{claimed:,} bytes when decompressed", f"{MAX_ARROW_BYTES:,} at most")
            if messages > MAX_ARROW_MESSAGES:
                raise _too_large(f"more than {MAX_ARROW_MESSAGES} batches", "fewer, larger ones")
    except (struct.error, ValueError, IndexError) as error:
        raise ReadingRefused("arrow", f"not a whole Arrow IPC stream ({error}); the record is kept in dead-letter") from error


def _messages(stream: memoryview) -> Iterator[tuple[memoryview, memoryview]]:
    """Metadata and body of each message. Raises ValueError or struct.error where the stream is cut."""
    at = 0
    while at < len(stream):
        if bytes(stream[at : at + 4]) != CONTINUATION:
            raise ValueError(f"no message begins at byte {at}")
        size = _I32.unpack_from(stream, at + 4)[0]
        at += 8
        if size == 0:
            if at != len(stream):
                raise ValueError(f"{len(stream) - at} bytes after the end of the stream")
            return
        metadata = stream[at : at + size] if size > 0 else stream[:0]
        body_bytes = _number(metadata, _U32.unpack_from(metadata, 0)[0], 3)
        at += size
        if body_bytes < 0 or at + body_bytes > len(stream):
            raise ValueError(f"a body of {body_bytes} bytes at byte {at} of {len(stream)}")
        yield metadata, stream[at : at + body_bytes]
        at += body_bytes


def _header(metadata: memoryview) -> tuple[int, int]:
    """Kind and position of a message's header table."""
    message = _U32.unpack_from(metadata, 0)[0]
    kind = _field(metadata, message, 1)
    return (metadata[kind] if kind else 0), _table(metadata, message, 2)


def _decoded_bytes(metadata: memoryview, batch: int, body: memoryview) -> int:
    """Bytes that the buffers of a batch take once they are decompressed, as they say themselves."""
    vector = _field(metadata, batch, 2)
    if not vector:
        return 0
    at = vector + _U32.unpack_from(metadata, vector)[0]
    count = _U32.unpack_from(metadata, at)[0]
    compressed = _field(metadata, batch, 3) != 0
    total = 0
    end = at + 4 + 16 * count
    if end > len(metadata):
        raise ValueError(f"{count} buffers in metadata of {len(metadata)} bytes")
    for offset, length in _BUFFER.iter_unpack(metadata[at + 4 : end]):
        if offset < 0 or length < 0 or offset + length > len(body):
            raise ValueError(f"a buffer of {length} bytes at {offset} of a body of {len(body)}")
        if compressed and length:
            said = _I64.unpack_from(body, offset)[0]
            if said < -1 or length < 8:
                raise ValueError(f"a compressed buffer of {length} bytes that claims {said}")
            length = length if said == -1 else said
        total += length
    return total


def _field(metadata: memoryview, table: int, index: int) -> int:
    """Position of a field of a FlatBuffers table, 0 where it is absent."""
    if table < 0:
        raise ValueError("metadata points outside of itself")
    vtable = table - _I32.unpack_from(metadata, table)[0]
    if vtable < 0:
        raise ValueError("metadata points outside of itself")
    if 4 + 2 * index >= _U16.unpack_from(metadata, vtable)[0]:
        return 0
    offset = _U16.unpack_from(metadata, vtable + 4 + 2 * index)[0]
    return table + offset if offset else 0


def _table(metadata: memoryview, table: int, index: int) -> int:
    """Position of the table that a field refers to."""
    field = _field(metadata, table, index)
    if not field:
        raise ValueError("a message without a header")
    return int(field + _U32.unpack_from(metadata, field)[0])


def _number(metadata: memoryview, table: int, index: int) -> int:
    field = _field(metadata, table, index)
    return int(_I64.unpack_from(metadata, field)[0]) if field else 0


def _too_large(found: str, expected: str) -> ReadingRefused:
    return ReadingRefused("size", f"an Arrow record claims {found}, expected {expected}; the record is kept in dead-letter")
