"""One line an event; what a library repeats is said once in a while."""

from __future__ import annotations

import logging
import subprocess
import sys

from deploy.logs import EventFormatter, RepeatFilter


def _record(name: str, at_s: float, message: str = "Unable to update metadata from %s") -> logging.LogRecord:
    return logging.makeLogRecord({"name": name, "msg": message, "args": ([1],), "created": at_s, "levelname": "ERROR"})


def test_a_librarys_repeats_pass_once_in_thirty_seconds_and_are_counted() -> None:
    repeat = RepeatFilter(30)
    assert [repeat.filter(_record("aiokafka.client", at)) for at in (0, 0.1, 0.2, 29.9)] == [True, False, False, False]
    assert repeat.filter(_record("aiokafka.client", 1, "another %s"))
    late = _record("aiokafka.client", 30.1)
    assert repeat.filter(late)
    assert EventFormatter("gateway").format(late).endswith("Unable to update metadata from [1] repeats=3")


def test_the_projects_own_events_all_pass() -> None:
    repeat = RepeatFilter(30)
    assert all(repeat.filter(_record("streams.processor", 0)) for _ in range(3))


def test_an_event_is_one_line_on_stderr_with_its_extras() -> None:
    code = (
        "import logging; from deploy.logs import set_up_logs; set_up_logs('processor');"
        "logging.getLogger('streams.processor').info('swap', extra={'asset': 'p1', 'why': 'lower loss'})"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    [line] = answer.stderr.splitlines()
    assert line.endswith(' INFO processor swap asset=p1 why="lower loss"')


def test_a_command_that_sets_up_no_logs_says_what_an_event_is_about() -> None:
    code = (
        "import logging, sys; from deploy import cli; sys.argv = ['livetwin', 'version']\n"
        "try: cli.main()\n"
        "except SystemExit: logging.getLogger('streams').warning('definition-not-used', extra={'key': 'twin/p1'})"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert said.endswith("WARNING livetwin definition-not-used key=twin/p1\n")
