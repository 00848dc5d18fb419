"""The Compose file is valid, mounts what is there, and its containers keep no rights."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
SCHEMA = files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def schema() -> Any:
    return json.loads(SCHEMA.read_text(encoding="utf-8"))


def test_file_is_valid(compose: dict[str, Any], schema: Any) -> None:
    jsonschema.validate(compose, schema)


def test_the_file_for_gpus_adds_one_to_the_service(compose: dict[str, Any], schema: Any) -> None:
    more = yaml.safe_load((DEPLOY / "compose.gpu.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(more, schema)
    assert more["services"].keys() == {"captioner"} <= compose["services"].keys()


def test_an_unknown_key_is_found(compose: dict[str, Any], schema: Any) -> None:
    captioner = compose["services"]["captioner"] | {"cap_dropped": ["ALL"]}
    with pytest.raises(jsonschema.ValidationError, match="cap_dropped"):
        jsonschema.validate({"services": {"captioner": captioner}}, schema)


def test_containers_keep_no_rights(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["read_only"] is True


def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_only_the_service_starts_unless_asked(compose: dict[str, Any]) -> None:
    assert [name for name, service in compose["services"].items() if "profiles" not in service] == [
        "captioner"
    ]


def test_named_volumes_are_declared(compose: dict[str, Any]) -> None:
    mounts = [mount for service in compose["services"].values() for mount in service["volumes"]]
    named = {mount.split(":")[0] for mount in mounts if not mount.startswith(".")}
    assert named == set(compose["volumes"])


def test_grafana_reads_dashboards_where_they_are_mounted(compose: dict[str, Any]) -> None:
    provisioning = DEPLOY / "grafana/provisioning"
    mounts = [mount.split(":")[1] for mount in compose["services"]["grafana"]["volumes"]]
    (provider,) = yaml.safe_load((provisioning / "dashboards/files.yaml").read_text())["providers"]
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    assert provider["options"]["path"] in mounts
    assert re.fullmatch(r"http://(\w+):9090", source["url"])[1] in compose["services"]  # type: ignore[index]


def test_prometheus_scrapes_the_service(compose: dict[str, Any]) -> None:
    command = compose["services"]["prometheus"]["command"]
    assert "--config.file=/etc/prometheus/compose.yaml" in command
    config = yaml.safe_load((DEPLOY / "prometheus/compose.yaml").read_text(encoding="utf-8"))
    (target,) = config["scrape_configs"][0]["static_configs"][0]["targets"]
    name, _, port = target.partition(":")
    words = compose["services"][name]["command"]
    assert words[words.index("--metrics-port") + 1] == port
