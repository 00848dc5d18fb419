from __future__ import annotations

from pathlib import Path

import pytest

from captioning.errors import ConfigError
from evaluation.suite import SUITES, CogvlmSpec, EngineSpec, NearestSpec, load_suite


@pytest.mark.parametrize("name", sorted(path.stem for path in SUITES.glob("*.yaml")))
def test_shipped_suites_are_valid_and_have_a_floor(name: str) -> None:
    loaded, suite = load_suite(name)
    assert loaded == name
    assert Path(suite.corpus).is_absolute()
    assert {"constant", "shuffled"} <= {spec.kind for spec in suite.captioners.values()}


def test_shipped_suites_have_what_the_design_names() -> None:
    _, embedded = load_suite("embedded")
    assert embedded.captioners["base"] == EngineSpec(kind="engine", model="embedded")
    assert embedded.captioners["adapter"] == EngineSpec(kind="engine", model="embedded", adapter="given")
    assert isinstance(embedded.captioners["nearest"], NearestSpec)
    _, external = load_suite("ext_capt")
    assert [external.captioners[name].kind for name in ("blip-base", "vit-gpt2")] == ["blip", "vit-gpt2"]
    assert isinstance(external.captioners["cogvlm"], CogvlmSpec)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("captionrs: {}", "unknown key 'captionrs'. Did you mean 'captioners'"),
        (
            "captioners: {a: {kind: engine, modle: x}}",
            "unknown key 'captioners.a.engine.modle'. Did you mean 'model'",
        ),
        ("captioners: {a: {kind: engin}}", "captioners.a: Input tag 'engin'"),
        (
            "captioners: {a: {kind: engine, max_new_tokens: '64'}}",
            "max_new_tokens: Input should be a valid integer",
        ),
        ("captioners: {a: {kind: engine, max_new_tokens: 0}}", "greater than or equal to 1"),
        ("captioners: {A/b: {kind: shuffled}}", "String should match pattern"),
        ("captioners: {a: {kind: nearest}}", "captioners.a.nearest.corpus: Field required"),
        ("captioners: {a: {kind: constant}}", "either 'caption' or 'corpus'"),
        ("captioners: {a: {kind: constant, caption: x, corpus: y}}", "either 'caption' or 'corpus'"),
        ("captioners: {a: {kind: blip, source: x, gpus_each: 0.5}}", "write 'actors: 1' as well"),
        ("captioners: {a: {kind: blip, source: x, actors: 1, gpus_each: 1.5}}", "or whole ones: not 1.5"),
        (
            "captioners: {a: {kind: cogvlm, source: x/y}}",
            "'x/y' is no folder here, and code of the hub runs only as it was reviewed",
        ),
        (
            "captioners: {a: {kind: cogvlm, source: x/y, revision: main}}",
            "revision: String should match pattern",
        ),
        (
            "captioners: {a: {kind: cogvlm, source: ., packages: [einops]}}",
            "'packages' are installed for actors: write 'actors: 1' as well",
        ),
        ("captioners: {}", "at least 1 item"),
        ("metrics: [bleu_4]", "metrics.0: Input should be 'bleu'"),
        ("captioners: [", "not YAML"),
    ],
)
def test_a_wrong_setting_is_named(settings: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(f"corpus: test.jsonl\n{settings}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_suite(str(path))
    assert str(error.value).startswith(str(path))
    assert problem in str(error.value)


def test_an_unknown_suite_has_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"no suite 'embeded'\. Did you mean 'embedded'"):
        load_suite("embeded")
