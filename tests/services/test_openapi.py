"""What the OpenAPI document allows and what it forbids is sent to the service: all answers are as it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.result import Ok

from tests.live_service import LiveService

pytestmark = pytest.mark.ray

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def strategies(url: str) -> Iterator[st.SearchStrategy[schemathesis.Case[Any]]]:
    for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        yield operation.as_strategy(GenerationMode.POSITIVE)
        if operation.method == "post":
            yield operation.as_strategy(GenerationMode.NEGATIVE)


@pytest.mark.parametrize("examples", [150, pytest.param(5000, marks=pytest.mark.slow)])
@pytest.mark.timeout(3600)
def test_no_request_of_any_shape_breaks_the_service(live_service: LiveService, examples: int) -> None:
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(*strategies(live_service.url)))
    def check(case: schemathesis.Case[Any]) -> None:
        answer = case.call(base_url=live_service.url)
        case.validate_response(answer, checks=CHECKS)

    check()
