"""Whatever is sent, the answer is ours: never a 5xx, always JSON in one of the known shapes."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.services.helpers import CIRCLE, SQUARE

TYPES = ("application/json", "multipart/form-data", "multipart/form-data; boundary=x", "text/plain", "a/b; c")
PART = b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
_TEXT = st.text(st.characters(codec=None))  # surrogates included

bodies = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda fields: json.dumps(fields).encode(),
        st.dictionaries(
            st.sampled_from(
                ["svg", "model", "n", "max_tokens", "temperature", "seed", "stream", "size_px", "title"]
            ),
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _TEXT, st.just(SQUARE)),
        ),
    ),
    st.builds(
        lambda parts: b"".join(PART % part for part in parts) + b"--x--\r\n",
        st.lists(
            st.tuples(
                st.sampled_from([b"file", b"model", b"n", b"", b"seed", b"title"]),
                st.sampled_from([b"", b'; filename="a.svg"', b'; filename="\xff"', b"; filename"]),
                st.one_of(st.binary(max_size=50), st.just(CIRCLE.encode()), st.just(b"1")),
            ),
            max_size=4,
        ),
    ),
)


@settings(
    max_examples=300,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(["/v1/captions", "/v1/render", "/v1/title"]), st.sampled_from(TYPES), bodies)
def test_no_body_breaks_the_service(client: TestClient, path: str, content_type: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers={"content-type": content_type})
    assert answer.status_code < 500, answer.text
    if answer.headers["content-type"] in {"image/png", "image/svg+xml"}:
        return
    assert {"error"} == set(answer.json()) or "captions" in answer.json() or "results" in answer.json()
