"""`livetwin grafana sync` as a process, on a real broker and a real InfluxDB: a type that is declared has its dashboard."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from deploy.feeds.water_fleet import water_interfaces
from deploy.grafana.read_token import FILE
from deploy.influxd import InfluxDbAddress
from deploy.topics import ensure_topics
from streams import clients
from streams.stores.influxdb import InfluxDbStore
from streams.stores.influxdb_server import InfluxDb
from streams.topics import Topics
from tests.streams.stores.blocks import plain_block

LIMIT_S = 90.0
COMMAND = [sys.executable, "-m", "deploy.cli", "grafana", "sync"]


def until(holds: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert process.poll() is None, f"sync ended by itself: {process.communicate()[1]}"
        assert time.monotonic() < end, "did not come to hold in time"
        time.sleep(0.1)


async def declare(bootstrap: str, topics: Topics, interface: dict[str, Any]) -> None:
    producer = clients.producer(bootstrap, client_id="test")
    await producer.start()
    try:
        await producer.send_and_wait(topics.definitions, orjson.dumps(interface), key=f"type/{interface['@id']}".encode())
    finally:
        await producer.stop()


@pytest.mark.kafka
@pytest.mark.influxdb
def test_a_type_declared_while_it_runs_has_its_dashboard(
    kafka: str, topic_prefix: str, influxdb: InfluxDbAddress, tmp_path: Path
) -> None:
    topics = Topics(topic_prefix)
    asyncio.run(ensure_topics(kafka, topics, 2))
    bucket = f"s{uuid.uuid4().hex[:8]}"
    secret = tmp_path / "token"
    secret.write_text(influxdb.token + "\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIVETWIN_")} | {
        "LIVETWIN_KAFKA": kafka,
        "LIVETWIN_TOPIC_PREFIX": topic_prefix,
        "LIVETWIN_STORE": f"influxdb:{influxdb.url}",
        "LIVETWIN_INFLUXDB_TOKEN_FILE": str(secret),
        "LIVETWIN_INFLUXDB_ORG": influxdb.org,
        "LIVETWIN_INFLUXDB_BUCKET": bucket,
        "LIVETWIN_PUBLIC_URL": "https://twins.example/",
    }
    shown = tmp_path / "grafana" / "dashboards"
    words = ["--out", str(tmp_path / "grafana")]
    process = subprocess.Popen([*COMMAND, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        fleet = shown / "livetwin-fleet.json"
        until(fleet.exists, process)
        reader = InfluxDb(influxdb.url, token=(tmp_path / "grafana" / FILE).read_text(), org=influxdb.org)
        assert reader.query(bucket, "SHOW MEASUREMENTS") == [[]]
        reader.close()
        assert list(shown.glob("livetwin-type-*")) == []
        tank = next(interface for interface in water_interfaces(300) if interface["@id"].endswith(":Tank;1"))
        asyncio.run(declare(kafka, topics, tank))
        made = shown / "livetwin-type-water-tank.json"
        until(made.exists, process)
        assert "https://twins.example/twin?asset=" in json.dumps(json.loads(made.read_text())["links"])
        assert json.loads(made.read_text())["time"] == {"from": "now-168h", "to": "now+168h"}
        store = InfluxDbStore(influxdb.url, token=influxdb.token, org=influxdb.org, bucket=bucket)
        far = (time.time_ns() + 2402 * 3600 * 10**9) // 10**9
        store.write_history([plain_block("dtmi:livetwin:water:Tank;1", ["tank-1"], [far], channels=("level",))])
        store.close()
        until(lambda: json.loads(made.read_text())["time"] == {"from": "now+2232h", "to": "now+2568h"}, process)
        tank["contents"].append({"@type": "Telemetry", "name": "salinity", "schema": "double"})
        asyncio.run(declare(kafka, topics, tank))
        until(lambda: '"salinity' in made.read_text(), process)
        assert "water.tank" in fleet.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_with_duckdb_nothing_is_written_and_it_says_why(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIVETWIN_")}
    code = "import asyncio; from pathlib import Path; from deploy.roles import grafana_sync;"
    code += f"asyncio.run(grafana_sync(asyncio.Event(), folder=Path({str(tmp_path / 'out')!r}), page_url='http://x'))"
    answer = subprocess.run(
        [sys.executable, "-c", code], env={**environment, "LIVETWIN_STORE": "duckdb:"}, capture_output=True, text=True
    )
    assert answer.returncode != 0
    assert "LIVETWIN_STORE is duckdb:, expected influxdb:URL: Grafana reads InfluxDB; nothing was written" in answer.stderr
    assert not (tmp_path / "out").exists()
