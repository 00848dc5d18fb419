"""The little of Kustomize that deploy/kubernetes uses, so that its tests need no kubectl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def render(folder: Path) -> list[dict[str, Any]]:
    """The resources of a kustomization: files and folders, then images, then JSON patches by kind."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    unknown = kustomization.keys() - {"apiVersion", "kind", "resources", "images", "patches"}
    assert not unknown, f"{folder}: this reader does not know {unknown}"
    resources: list[dict[str, Any]] = []
    for name in kustomization["resources"]:
        path = folder / name
        if path.is_dir():
            resources += render(path)
        else:
            resources += yaml.safe_load_all(path.read_text(encoding="utf-8"))
    for image in kustomization.get("images", ()):
        for resource in resources:
            _set_tag(resource, image["name"], image["newTag"])
    for patch in kustomization.get("patches", ()):
        operations = yaml.safe_load((folder / patch["path"]).read_text(encoding="utf-8"))
        for resource in resources:
            if resource["kind"] == patch["target"]["kind"]:
                for operation in operations:
                    _apply(resource, **operation)
    return resources


def _set_tag(node: Any, name: str, tag: str) -> None:
    if isinstance(node, dict):
        if node.get("image") == name:
            node["image"] = f"{name}:{tag}"
        for child in node.values():
            _set_tag(child, name, tag)
    elif isinstance(node, list):
        for child in node:
            _set_tag(child, name, tag)


def _apply(resource: dict[str, Any], *, op: str, path: str, value: Any) -> None:
    *parents, last = path.strip("/").split("/")
    node: Any = resource
    for word in parents:
        node = node[int(word)] if isinstance(node, list) else node[word]
    assert op == "add" or (op == "replace" and last in node), f"{op} {path}"
    node[last] = value
