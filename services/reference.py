"""The API reference at /docs: one plain page made from the OpenAPI document.

The usual viewers load their scripts from another host, which a service on a closed network cannot.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from string import Template
from typing import Any

SUMMARY = "Says in words what an SVG drawing shows."

_TEMPLATE_PATH = Path(__file__).parent / "reference.html"

_EXAMPLES = {
    "/v1/captions": """\
curl -F file=@icon.svg ORIGIN/v1/captions
curl -F file=@a.svg -F file=@b.svg -F model=my-adapter ORIGIN/v1/captions
curl --json '{"svg": "<svg ...>", "max_tokens": 40}' ORIGIN/v1/captions
curl -F file=@icon.svg -F check=true ORIGIN/v1/captions
curl -N -F file=@icon.svg -F stream=true ORIGIN/v1/captions""",
    "/v1/chat/completions": """\
curl --json '{"messages": [{"role": "user", "content": "<svg ...>"}]}' ORIGIN/v1/chat/completions""",
    "/v1/models": "curl ORIGIN/v1/models",
    "/v1/title": "curl -F file=@icon.svg -F title='A red house' -o titled.svg ORIGIN/v1/title",
    "/v1/render": "curl -F file=@icon.svg -F size_px=256 -o icon.png ORIGIN/v1/render",
}


def html_page(openapi: dict[str, Any]) -> str:
    """The reference for one OpenAPI document."""
    operations = [
        _operation(method, path, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    template = Template(_TEMPLATE_PATH.read_text(encoding="utf-8"))
    return template.substitute(summary=escape(SUMMARY), operations="\n".join(operations))


def _prose(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    title = f'<span class="method">{method.upper()}</span> <code>{escape(path)}</code>'
    parts = [f"<h2>{title} {escape(operation['summary'])}</h2>", f"<p>{_prose(operation['description'])}</p>"]
    if example := _EXAMPLES.get(path):
        parts.append(f"<pre>{escape(example)}</pre>")
    if body := operation.get("requestBody"):
        parts.append(_fields(body["content"]))
    return "\n".join(parts)


def _fields(content: dict[str, Any]) -> str:
    """The fields of all body forms in one table; `svg` is JSON's, `file` the form's."""
    fields: dict[str, Any] = {}
    for media in content.values():
        fields |= media["schema"]["properties"]
    rows = [
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(_type(field))}</td>"
        f"<td>{_prose(field.get('description', ''))}</td></tr>"
        for name, field in fields.items()
    ]
    return f"<table><tr><th>Field</th><th>Type</th><th>Meaning</th></tr>{''.join(rows)}</table>"


def _type(field: dict[str, Any]) -> str:
    kinds = [field.get("type"), *(option.get("type") for option in field.get("anyOf", ()))]
    return " or ".join(kind for kind in kinds if kind and kind != "null")
