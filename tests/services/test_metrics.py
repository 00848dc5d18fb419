"""Prometheus finds what the dashboard asks for, and the numbers are those of the requests."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.captioning.helpers import make_adapter
from tests.live_service import LiveService
from tests.rendering.processes import eventually
from tests.services.helpers import CIRCLE, TRUNCATED

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/svg-captions.json").read_text(encoding="utf-8"))


def queries() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.mark.ray
def test_every_metric_of_the_dashboard_is_exported(live_service: LiveService) -> None:
    make_adapter(live_service.base_model, live_service.adapters_dir / "watched", "watched", seed=5)
    with httpx.Client(base_url=live_service.url, timeout=60, trust_env=False) as client:
        for svg, status in ((CIRCLE, 200), (TRUNCATED, 400)):
            answer = client.post("/v1/captions", json={"svg": svg, "model": "watched"})
            assert answer.status_code == status, answer.text
    wanted = {name for query in queries() for name in re.findall(r"ray_svg_\w+", query)}
    assert len(wanted) > 15
    assert eventually(lambda: wanted <= live_service.metrics().keys(), 30), (
        wanted - live_service.metrics().keys()
    )


@pytest.mark.ray
def test_the_engine_logs_under_the_requests_id(live_service: LiveService) -> None:
    make_adapter(live_service.base_model, live_service.adapters_dir / "logged", "logged", seed=6)
    with httpx.Client(base_url=live_service.url, timeout=60, trust_env=False) as client:
        client.headers["X-Request-ID"] = "followed"
        assert client.post("/v1/captions", json={"svg": CIRCLE, "model": "logged"}).is_success

    def lines() -> list[str]:
        found = [json.loads(line) for line in live_service.log.read_text().splitlines() if line[:1] == "{"]
        return [line["message"] for line in found if line.get("request_id") == "followed"]

    assert eventually(lambda: len(lines()) >= 2, 30)
    assert [line.partition(" from ")[0] for line in lines()] == [
        "loaded adapter logged",
        "POST /v1/captions 200",
    ]


@pytest.mark.ray
def test_requests_are_counted_once(live_service: LiveService) -> None:
    """By the label of an adapter that no other request names: counts of other tests may still come in."""
    make_adapter(live_service.base_model, live_service.adapters_dir / "counted", "counted", seed=7)
    with httpx.Client(base_url=live_service.url, timeout=60, trust_env=False) as client:
        for svg in (CIRCLE, TRUNCATED, TRUNCATED):
            client.post("/v1/captions", json={"svg": svg, "model": "counted"})

    def counts() -> dict[str, float]:
        text = httpx.get(live_service.metrics_url, timeout=30, trust_env=False).text
        lines = re.findall(r"^ray_svg_requests_total{(.*)} ([0-9.]+)$", text, re.MULTILINE)
        ours = [(labels, float(count)) for labels, count in lines if 'model="counted"' in labels]
        return {labels.partition('outcome="')[2].partition('"')[0]: count for labels, count in ours}

    assert eventually(lambda: counts() == {"ok": 1, "malformed": 2}, 30), counts()


def test_panels_have_a_place_and_a_unit_each() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len({*places}) == len(places)
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in DASHBOARD["panels"])
    assert all(query.count("(") == query.count(")") for query in queries())


def test_the_scrape_config_fits_the_documents() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text(encoding="utf-8"))
    (target,) = config["scrape_configs"][0]["static_configs"][0]["targets"]
    text = (Path(__file__).parents[2] / "docs/deployment.md").read_text(encoding="utf-8")
    assert f"--metrics-port {target.rpartition(':')[2]}" in text
