"""The `livetwin` command as a person types it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deploy import __version__
from deploy.topics import ensure_topics
from streams.clients import read_to_end
from streams.records import DemoCommand
from streams.topics import Topics
from streams.training_worker import NICE


def _livetwin(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIVETWIN_")}
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *words],
        env={**environment, **{f"LIVETWIN_{name.upper()}": value for name, value in settings.items()}, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_help_lists_every_command_and_imports_no_role() -> None:
    answer = _livetwin("--help")
    assert answer.returncode == 0
    for command in (
        "up",
        "processor",
        "historian",
        "trainer",
        "alerting",
        "gateway",
        "feed",
        "demo",
        "models",
        "topics",
        "doctor",
        "version",
    ):
        assert f"\n  {command} " in answer.stdout
    code = "import sys, deploy.cli; print(sorted({'torch', 'aiokafka', 'nicegui', 'faust', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_trainer_steps_back_behind_what_scores(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        settings = {"LIVETWIN_KAFKA": f"127.0.0.1:{nobody.getsockname()[1]}", "LIVETWIN_HOME": str(tmp_path)}
        command = [sys.executable, "-m", "deploy.cli", "trainer"]
        with subprocess.Popen(command, env={**os.environ, **settings}, stderr=subprocess.PIPE, text=True) as trainer:
            try:
                assert trainer.stderr is not None
                assert "broker-away" in trainer.stderr.readline()
                assert psutil.Process(trainer.pid).nice() == min(os.nice(0) + NICE, 19)
            finally:
                trainer.kill()


def test_version_is_the_packages() -> None:
    assert _livetwin("version").stdout == f"{__version__}\n"


def test_a_misspelt_variable_starts_nothing_and_names_the_nearest() -> None:
    answer = _livetwin("up", gateway_prt="1")
    assert answer.returncode == 1
    assert answer.stderr == (
        "livetwin: LIVETWIN_GATEWAY_PRT is set but no setting has that name (nearest: LIVETWIN_GATEWAY_PORT); "
        "nothing was started\n"
    )


def test_a_value_that_does_not_fit_starts_nothing_and_names_the_variable(tmp_path: Path) -> None:
    answer = _livetwin("up", home=str(tmp_path), train_every_s="often")
    assert answer.returncode == 1
    assert answer.stderr.startswith("livetwin: LIVETWIN_TRAIN_EVERY_S is 'often': input should be a valid number")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_there_is_not_fed() -> None:
    answer = _livetwin("feed", "no/such.csv")
    assert answer.returncode == 2
    assert "no/such.csv: no such file, and neither 'host' nor 'water'; nothing was fed" in answer.stderr


def test_doctor_tells_a_fault_by_its_status_and_looks_at_the_rest(tmp_path: Path) -> None:
    answer = _livetwin("doctor", home=str(tmp_path), kafka="127.0.0.1:9")
    assert answer.returncode == 1
    states = {line[7:20].strip(): line[:5].strip() for line in answer.stdout.splitlines()}
    assert states["broker"] == "fault"
    assert states["java"] == "ok"
    assert states["torch"] == "ok"
    assert "127.0.0.1:9 does not answer a metadata request" in answer.stdout


@pytest.mark.kafka
def test_topics_are_created_and_then_as_they_should_be(kafka: str, topic_prefix: str) -> None:
    first = _livetwin("topics", kafka=kafka, topic_prefix=topic_prefix, partitions="2")
    assert first.returncode == 0, first.stderr
    second = _livetwin("topics", kafka=kafka, topic_prefix=topic_prefix)
    assert second.stdout == f"{kafka}: every topic of {topic_prefix}* is as it should be\n"


@pytest.mark.kafka
async def test_a_fault_of_the_demo_is_one_record_on_its_topic(kafka: str, topic_prefix: str) -> None:
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, 1)
    answer = _livetwin(
        "demo", "fault", "on", "leak", "--asset", "junction-101", "--size", "4", kafka=kafka, topic_prefix=topic_prefix
    )
    assert (answer.returncode, answer.stdout) == (0, "leak at junction-101: on\n"), answer.stderr
    [record] = await read_to_end(kafka, topics.demo_commands)
    assert record.key == b"fault/leak/junction-101"
    assert DemoCommand.model_validate_json(record.value) == DemoCommand(fault="leak", asset="junction-101", size=4.0, active=True)


def test_a_fault_without_a_broker_says_that_nothing_was_switched() -> None:
    answer = _livetwin("demo", "fault", "on", "leak", "--asset", "x", kafka="127.0.0.1:9")
    assert answer.returncode == 1
    assert "leak at x: 127.0.0.1:9 answered" in answer.stderr
    assert "nothing was switched" in answer.stderr
