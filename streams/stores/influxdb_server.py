"""One InfluxDB 2 server: lines and questions over HTTP, its answers as rows or as errors of the port.

In:   line protocol; InfluxQL; what the management API takes.
Out:  rows. What can heal is tried again a few times, with jitter and no sooner than the server asks, then StoreUnavailable;
      what can't (token, bucket, version) is StoreRefused; lines that the server can't take are PointsRefused.
Any thread may call.
"""

from __future__ import annotations

import logging
import random
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeVar

import orjson
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from streams.stores.port import StoreRefused, StoreUnavailable
from twin.errors import LivetwinError

log = logging.getLogger(__name__)
_ATTEMPTS = 3
_FIRST_RETRY_S = 0.2
_LONGEST_WAIT_HERE_S = 3.0  # a server that asks for more is left to the caller, who waits without holding a thread
_HEALS = frozenset({408, 429, 500, 502, 503, 504})
_REFUSED = frozenset({401, 403, 404, 405, 410})
_PAST_RETENTION = "beyond retention policy"  # somebody gave the bucket an age: what is older is dropped, like by our own limit
_TIMEOUT_MS = 60_000
_CHECK = "Check LIVETWIN_INFLUXDB_TOKEN, _ORG and _BUCKET, then `livetwin store setup`"

T = TypeVar("T")


class PointsRefused(LivetwinError):
    """Lines that this server can't take as they are: a field of another type, a key too long. Others of the request may be in."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One series of an answer: what was grouped by, and one list a row."""

    name: str
    tags: Mapping[str, str]
    columns: list[str]
    values: list[list[Any]]

    def column(self, name: str) -> list[Any]:
        nth = self.columns.index(name)
        return [row[nth] for row in self.values]


class InfluxDb:
    """A server, an organisation in it and the right to use it."""

    def __init__(self, url: str, *, token: str, org: str) -> None:
        self.url = url.rstrip("/")
        self.org = org
        self._client: Any = InfluxDBClient(self.url, token, org=org, timeout=_TIMEOUT_MS, connection_pool_maxsize=8)
        self._rest: Any = self._client.api_client.rest_client
        self._authorization = {"Authorization": f"Token {token}"}

    def write(self, bucket: str, bodies: Iterable[bytes | memoryview]) -> None:
        """Write line protocol with times in nanoseconds, one request a body, gzipped. A body may be written again.

        Raises:
            StoreUnavailable: the server is away, busy or full; some bodies may be in.
            StoreRefused: the token or the bucket isn't good for it.
            PointsRefused: the server takes some lines for wrong; the others of that body may be in.
        """
        for body in bodies:
            packed = gzipped(body)
            try:
                self.call(f"{len(body)} B of lines not written to bucket {bucket!r}", partial(self.post, bucket, packed))
            except PointsRefused as error:
                if _PAST_RETENTION not in str(error):
                    raise
                log.warning("points-past-retention bucket=%s error=%s", bucket, error)

    def post(self, bucket: str, packed: bytes) -> None:
        """One request with gzipped lines, once. Raises what the client raises."""
        self._client.api_client.call_api(
            "/api/v2/write",
            "POST",
            {},
            [("org", self.org), ("bucket", bucket), ("precision", "ns")],
            {"Content-Encoding": "gzip", "Content-Type": "text/plain; charset=utf-8", "Accept": "application/json"},
            body=packed,
            urlopen_kw={},
        )

    def query(self, database: str, *statements: str) -> list[list[Rows]]:
        """Answers to InfluxQL statements, one list of series each; times are integers, nanoseconds.

        Raises:
            StoreUnavailable, StoreRefused: as for `write`; StoreRefused also for a statement that the server can't run.
        """
        fields = {"db": database, "epoch": "ns", "q": ";".join(statements)}
        headers = {**self._authorization, "Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}

        def ask() -> bytes:
            answer = self._rest.POST(f"{self.url}/query", headers=dict(headers), post_params=fields, _preload_content=False)
            try:
                return bytes(answer.data)  # the body is read here
            finally:
                answer.release_conn()

        found = orjson.loads(self.call(f"database {database!r} not read", ask))
        for result in found["results"]:
            if "error" in result:
                way_out = f". {_CHECK}" if "not found" in result["error"] else ""
                raise StoreRefused(f"{self.url}: {result['error']}; database {database!r} not read{way_out}")
        return [
            [Rows(s.get("name", ""), s.get("tags", {}), s["columns"], s.get("values", [])) for s in result.get("series", [])]
            for result in found["results"]
        ]

    def json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        absent: Any = None,
        there_already: bool = False,
    ) -> Any:
        """One call of the management API. Raises as `write`.

        Args:
            absent: what to return for 404; None: that is an error.
            there_already: another has created it meanwhile: that is as good.
        """

        def ask() -> bytes:
            headers = {**self._authorization, "Content-Type": "application/json", "Accept": "application/json"}
            pairs = list((query or {}).items())
            try:
                answer = self._rest.request(method, self.url + path, query_params=pairs, headers=headers, body=body)
            except ApiException as error:
                if error.status == 404 and absent is not None:
                    return orjson.dumps(absent)
                if error.status in (409, 422) and there_already and "exists" in _message(error):
                    return b"{}"
                raise
            return str(answer.data).encode()

        return orjson.loads(self.call(f"{method} {path} not done", ask) or b"{}")

    def get(self, path: str, otherwise: str) -> tuple[str, Callable[[str], str | None]]:
        """The text at a path, and its headers by name. Raises as `write`."""
        answer = self.call(otherwise, lambda: self._rest.GET(self.url + path, headers={"Content-Type": "*/*"}))
        return str(answer.data), answer.getheader

    def flux(self, script: str) -> str:
        """Run a Flux script; its answer as annotated CSV. Raises as `write`; PointsRefused for a script that fails."""
        body = {"query": script, "type": "flux"}

        def ask() -> str:
            headers = {**self._authorization, "Content-Type": "application/json", "Accept": "application/csv"}
            url = f"{self.url}/api/v2/query"
            found = self._rest.POST(url, headers=headers, query_params=[("org", self.org)], body=body)
            return str(found.data)

        answer = self.call("Flux script not run", ask)
        if "error,reference" in answer[:200]:  # it broke after the answer had begun
            raise PointsRefused(f"{self.url}: {answer.strip().splitlines()[-1]}; Flux script not run to its end")
        return answer

    def delete(self, bucket: str, predicate: str, *, from_ns: int, to_ns: int) -> None:
        """Delete what is from_ns <= time < to_ns. Raises as `write`."""
        body = {"start": rfc3339(from_ns), "stop": rfc3339(to_ns - 1), "predicate": predicate}
        self.json("POST", "/api/v2/delete", query={"org": self.org, "bucket": bucket}, body=body)

    def call(self, otherwise: str, act: Callable[[], T]) -> T:
        """Run one request, again when that can help. `otherwise` says what doesn't happen when it fails."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return act()
            except ApiException as error:
                failure = self._failure(error, otherwise)
                if not isinstance(failure, StoreUnavailable):
                    raise failure from error
                cause: Exception = error
            except (HTTPError, OSError) as error:
                failure, cause = StoreUnavailable(f"{self.url}: {error}; {otherwise}"), error
            wait_s = max(_FIRST_RETRY_S * 2**attempt * random.uniform(0.5, 1.0), failure.retry_after_s or 0.0)
            if attempt == _ATTEMPTS or wait_s > _LONGEST_WAIT_HERE_S:
                raise failure from cause
            log.info("influxdb-tried-again attempt=%d wait_s=%.1f error=%s", attempt, wait_s, failure)
            time.sleep(wait_s)
        raise AssertionError("unreachable")

    def _failure(self, error: ApiException, otherwise: str) -> LivetwinError:
        said = _message(error)
        text = f"{self.url} answered {error.status} {error.reason}: {said}; {otherwise}"
        if error.status in _HEALS or (error.status or 0) >= 500:
            return StoreUnavailable(text, retry_after_s=_retry_after_s(error))
        if error.status == 413:
            return PointsRefused(text)
        if error.status in _REFUSED:
            return StoreRefused(f"{text}. {_CHECK}")
        return PointsRefused(text)

    def close(self) -> None:
        self._client.close()


def gzipped(body: bytes | memoryview) -> bytes:
    """Level 1: a tenth of the time of the default level, at some more bytes on a short way."""
    packer = zlib.compressobj(1, wbits=31)
    return packer.compress(body) + packer.flush()


def identifier(name: str) -> str:
    """A name in InfluxQL.

    >>> identifier('a"b')
    '"a\\\\"b"'
    """
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def literal(text: str) -> str:
    """A string in InfluxQL.

    >>> literal("o'clock")
    "'o\\\\'clock'"
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def one_of(tag: str, wanted: Sequence[str]) -> str:
    """A condition on a tag, to be put after AND."""
    return "(" + " OR ".join(f"{identifier(tag)} = {literal(name)}" for name in wanted) + ")"


def _message(error: ApiException) -> str:
    try:
        found = orjson.loads(error.body or b"")
        return str(found.get("message") or found.get("error") or found)
    except (orjson.JSONDecodeError, AttributeError):
        return str(error.body or "no reason given").strip()


def _retry_after_s(error: ApiException) -> float | None:
    """Seconds, or a date, as RFC 9110 has it; None where there is neither."""
    value = error.headers.get("Retry-After") if error.headers else None
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):  # the usual growing delay does
        return None


def rfc3339(time_ns: int) -> str:
    """
    >>> rfc3339(1_500_000_000)
    '1970-01-01T00:00:01.500000000Z'
    >>> rfc3339(-1)
    '1969-12-31T23:59:59.999999999Z'
    """
    seconds, rest = divmod(time_ns, 1_000_000_000)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
