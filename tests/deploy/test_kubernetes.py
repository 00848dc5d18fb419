"""The manifests are valid, run our own versions, and leave pods no rights that they do not need."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from services.settings import Settings
from tests.deploy.kustomize import render
from training.recipe import load_recipe

ROOT = Path(__file__).parents[2]
OVERLAYS = ROOT / "deploy/kubernetes/overlays"
NAMES = sorted(str(path.parent.relative_to(OVERLAYS)) for path in OVERLAYS.glob("*/*/kustomization.yaml"))
RAY_SCHEMA = yaml.safe_load((Path(__file__).parent / "kuberay.schema.yaml").read_text(encoding="utf-8"))
KUBERNETES = "1.34"

Resource = dict[str, Any]


def ray_resource(name: str) -> Resource:
    (resource,) = [item for item in render(OVERLAYS / name) if item["apiVersion"] == "ray.io/v1"]
    return resource


def cluster(resource: Resource) -> Resource:
    return next(
        resource["spec"][key] for key in ("rayClusterConfig", "rayClusterSpec") if key in resource["spec"]
    )


def pods(resource: Resource) -> Iterator[Resource]:
    spec = cluster(resource)
    for group in (spec["headGroupSpec"], *spec.get("workerGroupSpecs", ())):
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}} | copy.deepcopy(
            group["template"]
        )


def validate(resource: Resource) -> None:
    if resource["apiVersion"] != "ray.io/v1":
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)
        return
    jsonschema.validate(resource, RAY_SCHEMA)
    for pod in pods(resource):
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_there_are_overlays_for_both_kinds_of_machine() -> None:
    assert [
        f"{kind}/{what}" for kind in ("cpu", "gpu") for what in ("evaluation", "service", "training")
    ] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_resource_is_valid(name: str) -> None:
    for resource in [*render(OVERLAYS / name), *render(ROOT / "deploy/kubernetes/base/volumes")]:
        validate(resource)


@pytest.mark.parametrize(
    "path",
    [("spec", "rayClusterConfig", "headGroupSpec"), ("spec", "rayClusterConfig"), ("spec",), ()],
    ids="/".join,
)
def test_an_unknown_field_is_found(path: tuple[str, ...]) -> None:
    node = resource = ray_resource("cpu/service")
    for word in path:
        node = node[word]
    node["replica"] = 1
    with pytest.raises(jsonschema.ValidationError, match="replica"):
        validate(resource)


def test_an_unknown_field_of_a_pod_is_found() -> None:
    resource = ray_resource("cpu/service")
    cluster(resource)["headGroupSpec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "Always"
    with pytest.raises(jsonschema.ValidationError, match="imagePolicy"):
        validate(resource)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("name", NAMES)
def test_kubectl_renders_the_same(name: str) -> None:
    command = ["kubectl", "kustomize", str(OVERLAYS / name)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def by_name(resource: Resource) -> str:
        return f"{resource['kind']} {resource['metadata']['name']}"

    rendered = sorted(yaml.safe_load_all(text), key=by_name)
    assert rendered == sorted(render(OVERLAYS / name), key=by_name)


@pytest.mark.parametrize("name", NAMES)
def test_pods_run_the_locked_ray_and_this_version(name: str) -> None:
    locked = re.search(r"^ray==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.M)
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    assert locked is not None
    assert version is not None
    suffix = "-cpu" if name.startswith("cpu/") else ""
    resource = ray_resource(name)
    assert cluster(resource)["rayVersion"] == locked[1]
    images = {container["image"] for pod in pods(resource) for container in pod["spec"]["containers"]}
    assert images == {f"svg-captioner:{version[1]}{suffix}"}


@pytest.mark.parametrize("name", NAMES)
def test_pods_satisfy_the_restricted_standard(name: str) -> None:
    for pod in pods(ray_resource(name)):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("name", NAMES)
def test_claims_and_policies_reach_the_pods(name: str) -> None:
    resources = render(OVERLAYS / name)
    assert "PersistentVolumeClaim" not in {item["kind"] for item in resources}, "deleted with the overlay"
    volumes = render(ROOT / "deploy/kubernetes/base/volumes")
    claims = {item["metadata"]["name"] for item in volumes if item["kind"] == "PersistentVolumeClaim"}
    selected = [
        item["spec"]["podSelector"]["matchLabels"] for item in resources if item["kind"] == "NetworkPolicy"
    ]
    for pod in pods(ray_resource(name)):
        assert pod["metadata"]["labels"] in selected
        used = [
            volume["persistentVolumeClaim"]["claimName"]
            for volume in pod["spec"]["volumes"]
            if "persistentVolumeClaim" in volume
        ]
        assert set(used) <= claims


def test_replicas_have_time_to_answer_what_they_have_begun() -> None:
    resource = ray_resource("cpu/service")
    (group,) = cluster(resource)["workerGroupSpecs"]
    spec = group["template"]["spec"]
    drain_s = {item["name"]: item.get("value") for item in spec["containers"][0]["env"]}[
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
    ]
    deadline_s = Settings().deadline_s
    assert deadline_s < float(drain_s) < spec["terminationGracePeriodSeconds"]
    assert spec["terminationGracePeriodSeconds"] < resource["spec"]["rayClusterDeletionDelaySeconds"]


@pytest.mark.parametrize("name", NAMES)
def test_only_the_autoscalers_pod_gets_a_token_of_the_api_server(name: str) -> None:
    resource = ray_resource(name)
    needs = cluster(resource).get("enableInTreeAutoscaling", False)
    tokens = [pod["spec"].get("automountServiceAccountToken", True) for pod in pods(resource)]
    assert tokens == [needs, *[False] * (len(tokens) - 1)]


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("gpu/")])
def test_gpus_are_asked_for(name: str) -> None:
    limits = [pod["spec"]["containers"][0]["resources"]["limits"] for pod in pods(ray_resource(name))]
    assert "1" in [limit.get("nvidia.com/gpu") for limit in limits]


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_service_has_valid_settings(kind: str) -> None:
    text = ray_resource(f"{kind}/service")["spec"]["serveConfigV2"]
    config = ServeDeploySchema.model_validate(yaml.safe_load(text))
    (application,) = config.applications
    settings = Settings.model_validate(application.args)
    assert application.import_path == "services.app:build_app"
    assert (settings.host, settings.port) == (config.http_options.host, config.http_options.port)
    assert [deployment.name for deployment in application.deployments] == ["Engine"]
    assert settings.engine_gpus == (1 if kind == "gpu" else 0)


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_training_job_names_a_recipe(kind: str) -> None:
    resource = ray_resource(f"{kind}/training")
    words = resource["spec"]["entrypoint"].split()
    assert resource["metadata"]["name"] in words
    recipe = load_recipe(words[words.index("training") + 1], [word for word in words if "=" in word])
    (group,) = cluster(resource)["workerGroupSpecs"]
    assert recipe.resources.workers == group["replicas"]
