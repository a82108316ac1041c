"""Whatever is sent, the gateway answers as its OpenAPI document says, and never with an error of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from tests.streams.gateway.conftest import Running, filled_gateway

pytestmark = pytest.mark.kafka

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ENDLESS = "/v1/stream"


@pytest.fixture
def running(kafka: str, tmp_path: Path) -> Iterator[Running]:
    """Of its own: what is sent here would stand in the topics that other tests read."""
    with filled_gateway(kafka, tmp_path) as made:
        yield made


def test_no_request_meets_an_error_that_nobody_planned_for(running: Running) -> None:
    schema = schemathesis.openapi.from_url(f"{running.url}/openapi.json").exclude(path=ENDLESS)
    tried = set()
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=6,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(case=operation.as_strategy())
        def answers(case: schemathesis.Case) -> None:
            case.validate_response(case.call(timeout=60), checks=CHECKS)

        answers()
        tried.add((operation.method.upper(), operation.path))
    assert len(tried) >= 20
    assert ("POST", "/v1/alerts/{id}:false-alarm") in tried
