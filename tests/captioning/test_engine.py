"""The engine against transformers' and peft's own generation, one request at a time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from captioning.base_models import BASE_MODELS, Quantization, load_model, load_tokenizer, resolve
from captioning.corpus import read_corpus
from captioning.engine import Caption, Engine, Generation, GenerationRequest
from captioning.errors import AdapterError, ConfigError, ModelNotFound, PromptTooLong
from captioning.pipeline import prepare
from captioning.prompt import clean_caption, prompt_ids
from captioning.writing import continue_greedily
from rendering import SvgRejected
from tests.captioning.helpers import make_adapter

ROOT = Path(__file__).parents[2]
CANONICAL = (
    '<svg viewBox="0 0 10 10"><circle r="3"/></svg>',
    '<svg viewBox="0 0 10 10"><rect width="5" height="5" fill="#f00"/><path d="M0 0L9 9"/></svg>',
    "<svg/>",
)
FILE = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><circle cx="5" cy="5" r="3"/></svg>'
END_TOKENS = ("<|eot_id|>", "<end_of_turn>", "<eos>")


@pytest.fixture(scope="module")
def adapters(
    llama: Path, gemma: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Path]]:
    """Two random adapters for each family, of other ranks and on other modules."""
    return {
        base.name: {
            "icons-v1.2": make_adapter(base, tmp_path_factory.mktemp("a"), "icons-v1.2", r=4, seed=1),
            "logos": make_adapter(
                base, tmp_path_factory.mktemp("b"), "logos", r=2, seed=2, modules=["v_proj", "up_proj"]
            ),
        }
        for base in (llama, gemma)
    }


@pytest.fixture(scope="module")
def prompts(llama: Path) -> list[list[int]]:
    tokenizer = load_tokenizer(resolve(str(llama)))
    return [prompt_ids(tokenizer, svg) for svg in CANONICAL]


@pytest.fixture
def engine(llama: Path, adapters: dict[str, dict[str, Path]]) -> Engine:
    """A tiny Llama with both of its adapters."""
    engine = Engine.load(str(llama), dtype="float32", device="cpu", max_batch_size=4)
    for folder in adapters["tiny-llama"].values():
        engine.load_adapter(folder)
    return engine


def requests_of(prompts: list[list[int]]) -> list[GenerationRequest]:
    """Every prompt with the base model and each adapter, in a jumble of lengths."""
    choices = (None, "icons-v1.2", "logos")
    return [
        GenerationRequest(prompt, choices[(index + shift) % 3], max_new_tokens=6 + 5 * index)
        for shift in range(3)
        for index, prompt in enumerate(prompts)
    ]


def reference(
    base: Path, adapter: Path | None, request: GenerationRequest, quantization: Quantization | None = None
) -> Generation:
    """What transformers and peft generate for one request."""
    spec = resolve(str(base))
    tokenizer = load_tokenizer(spec)
    model: Any = load_model(spec, dtype=torch.float32, quantization=quantization)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter)).eval()
    vocabulary = tokenizer.get_vocab()
    ends = [vocabulary[token] for token in END_TOKENS if token in vocabulary]
    ids = torch.tensor([[*request.prompt_ids, *request.begin]])
    output = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=request.max_new_tokens - len(request.begin),
        begin_suppress_tokens=list(request.not_next) or None,
        do_sample=False,
        eos_token_id=ends,
    )
    written = output[0, len(request.prompt_ids) :].tolist()
    text = clean_caption(str(tokenizer.decode(written, skip_special_tokens=True)))
    return Generation(
        text, "stop" if written[-1] in ends else "length", len(request.prompt_ids), len(written)
    )


@pytest.mark.parametrize(
    ("family", "quantization"), [("llama", None), ("gemma", None), ("llama", "nf4"), ("gemma", "nf4")]
)
def test_greedy_answers_are_those_of_transformers_and_peft(
    family: str,
    quantization: Quantization | None,
    adapters: dict[str, dict[str, Path]],
    request: pytest.FixtureRequest,
) -> None:
    base: Path = request.getfixturevalue(family)
    engine = Engine.load(
        str(base), dtype="float32", device="cpu", quantization=quantization, max_batch_size=4
    )
    folders = adapters[base.name]
    for folder in folders.values():
        engine.load_adapter(folder)
    jobs = requests_of([prompt_ids(engine.tokenizer, svg) for svg in CANONICAL])
    expected = [reference(base, folders.get(job.adapter or ""), job, quantization) for job in jobs]
    assert engine.generate(jobs) == expected
    assert [engine.generate([job])[0] for job in jobs] == expected
    assert len({answer.text for answer in expected}) > len(jobs) // 2


def test_nothing_asked_nothing_answered(engine: Engine) -> None:
    assert engine.generate([]) == []
    assert engine.caption([]) == []


def test_a_fresh_engine_runs_the_plain_model(llama: Path) -> None:
    engine = Engine.load(str(llama), device="cpu")
    layer: Any = engine._model.model.layers[0]
    assert type(layer.self_attn.q_proj) is torch.nn.Linear
    assert engine.adapters == {}


def test_the_models_own_end_tokens_end_a_caption(llama: Path, prompts: list[list[int]]) -> None:
    model = load_model(resolve(str(llama)), dtype=torch.float32)
    settings: Any = model.generation_config
    settings.eos_token_id = list(range(len(load_tokenizer(resolve(str(llama))))))
    engine = Engine(model, load_tokenizer(resolve(str(llama))), resolve(str(llama)))
    (answer,) = engine.generate([GenerationRequest(prompts[0])])
    assert (answer.finish_reason, answer.completion_tokens) == ("stop", 1)


def test_what_the_models_own_settings_suppress_is_never_written(
    llama: Path, prompts: list[list[int]]
) -> None:
    spec = resolve(str(llama))
    tokenizer: Any = load_tokenizer(spec)
    model: Any = load_model(spec, dtype=torch.float32)
    prompt = torch.tensor([prompts[0]])
    options: dict[str, Any] = {
        "do_sample": False,
        "max_new_tokens": 12,
        "eos_token_id": 10**6,
        "pad_token_id": 0,
    }
    free = model.generate(prompt, **options)[0, prompt.shape[1] :].tolist()
    settings: Any = model.generation_config
    settings.suppress_tokens = sorted(set(free))
    expected = model.generate(prompt, **options)[0, prompt.shape[1] :].tolist()
    (written,) = continue_greedily(model, [prompts[0]], max_new_tokens=12, stop_ids=frozenset())
    assert written == expected
    assert set(written).isdisjoint(free)
    engine = Engine(model, tokenizer, spec)
    (answer,) = engine.generate([GenerationRequest(prompts[0], max_new_tokens=12)])
    ids = expected[: answer.completion_tokens]
    assert answer.text == clean_caption(tokenizer.decode(ids, skip_special_tokens=True))


@pytest.mark.parametrize("adapter", [None, "logos"])
def test_a_text_goes_on_from_what_it_is_told_to_begin_with(
    llama: Path,
    adapters: dict[str, dict[str, Path]],
    engine: Engine,
    prompts: list[list[int]],
    adapter: str | None,
) -> None:
    half = len(engine.tokenizer) // 2
    free = GenerationRequest(prompts[1], adapter, max_new_tokens=16, begin=tuple(range(40, 44)))
    lower = replace(free, not_next=tuple(range(half)))
    upper = replace(free, not_next=tuple(range(half, len(engine.tokenizer))))
    folder = adapters["tiny-llama"].get(adapter or "")
    expected = [reference(llama, folder, request) for request in (free, lower, upper)]
    assert engine.generate([free, lower, upper]) == expected
    assert len({answer.text for answer in expected}) == 2
    changed = next(request for request, answer in zip((lower, upper), expected[1:], strict=True)
                   if answer != expected[0])  # fmt: skip
    pieces = [delta.text for delta in engine.submit(changed, stream=True)]
    assert "".join(pieces) == expected[[free, lower, upper].index(changed)].text


def test_the_embedded_model_writes_no_markup() -> None:
    """This icon is nothing that the adapter learned: it went on as if it were to draw."""
    suite = ROOT / "evaluation" / "suites" / "embedded" / "test.jsonl"
    icon = next(sample.svg for sample in read_corpus(suite) if sample.id == "tabler/outline/cloud-cog")
    engine = Engine.load("embedded", device="cpu")
    engine.load_adapter(ROOT / "adapters" / "literal")
    (caption,) = engine.caption([icon.encode()], adapter="literal")
    assert isinstance(caption, Caption)
    assert not set(caption.text) & set('<>="')


def test_samples_depend_on_their_seed_alone(engine: Engine, prompts: list[list[int]]) -> None:
    def sample(seed: int | None, prompt: int = 0) -> GenerationRequest:
        return GenerationRequest(prompts[prompt], "logos", 12, temperature=1.5, seed=seed)

    alone = [engine.generate([sample(seed)])[0] for seed in (1, 2)]
    together = engine.generate([sample(2), sample(None, 1), sample(1), sample(None, 1)])
    assert [together[2], together[0]] == alone
    assert alone[0] != alone[1]
    assert together[1] != together[3]


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt_ids": []},
        {"max_new_tokens": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"begin": (5, 6), "max_new_tokens": 2},
    ],
)
def test_requests_that_make_no_sense(engine: Engine, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="cannot generate"):
        engine.generate([GenerationRequest(**({"prompt_ids": [1]} | changes))])


def test_the_context_holds_prompt_and_caption(engine: Engine) -> None:
    engine.generate([GenerationRequest([5] * 1023, max_new_tokens=1)])
    with pytest.raises(PromptTooLong, match=r"1,023 prompt tokens and 2 new ones.*holds 1,024"):
        engine.generate([GenerationRequest([5] * 1023, max_new_tokens=2)])


def test_adapters_come_and_go(engine: Engine, prompts: list[list[int]]) -> None:
    jobs = {name: GenerationRequest(prompts[0], name, 8) for name in (None, "icons-v1.2", "logos")}
    before = {name: engine.generate([job]) for name, job in jobs.items()}
    assert sorted(engine.adapters) == ["icons-v1.2", "logos"]
    engine.unload_adapter("logos")
    with pytest.raises(ModelNotFound, match=r"No adapter 'logos'\. Available: icons-v1\.2\."):
        engine.generate([jobs[None], jobs["logos"]])
    assert [engine.generate([jobs[name]]) for name in (None, "icons-v1.2")] == list(before.values())[:2]
    engine.unload_adapter("icons-v1.2")
    assert engine.generate([jobs[None]]) == before[None]
    with pytest.raises(ModelNotFound, match="Available: none"):
        engine.unload_adapter("icons-v1.2")


def test_a_retrained_adapter_takes_the_place_of_the_old(
    engine: Engine, llama: Path, prompts: list[list[int]], tmp_path: Path
) -> None:
    job = GenerationRequest(prompts[0], "logos", 12)
    old = engine.generate([job])
    engine.load_adapter(make_adapter(llama, tmp_path / "first", "logos", seed=76))
    bytes_before = engine.load_now.adapter_bytes
    retrained = make_adapter(llama, tmp_path / "logos", "logos", seed=77)
    for _ in range(2):
        engine.load_adapter(retrained)
    assert engine.generate([job]) == [reference(llama, retrained, job)] != old
    assert sorted(engine.adapters) == ["icons-v1.2", "logos"]
    assert engine.load_now.adapter_bytes == bytes_before


def spoil_config(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def spoil_tensors(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")


FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: spoil_config(folder, target_modules=["c_attn"]), "does not fit this base model"),
        (lambda folder: spoil_config(folder, target_modules=["q_proj"]), "has no target in this base model"),
        (lambda folder: spoil_config(folder, r=8), "has another shape than here"),
        (lambda folder: spoil_config(folder, r="many"), "does not fit this base model"),
        (lambda folder: spoil_config(folder, target_modules="("), "does not fit this base model"),
        (lambda folder: spoil_tensors(folder, lambda it: it.pop(FIRST)), f"'{FIRST}' is missing"),
        (lambda folder: spoil_tensors(folder, lambda it: it[FIRST].fill_(float("nan"))), "are not finite"),
        (
            lambda folder: spoil_tensors(
                folder, lambda it: it.update({FIRST.replace("q_p", "r_p"): it.pop(FIRST)})
            ),
            r"r_proj.lora_A.weight' has no target",
        ),
    ],
)
@pytest.mark.parametrize("others", [(), ("icons",)], ids=["first", "later"])
def test_an_adapter_that_does_not_fit_leaves_no_trace(
    spoil: Callable[[Path], Any],
    reason: str,
    others: tuple[str, ...],
    icons: Path,
    request: pytest.FixtureRequest,
) -> None:
    base: Path = request.getfixturevalue("llama")
    engine = Engine.load(str(base), dtype="float32", device="cpu")
    for _ in others:
        engine.load_adapter(icons)
    jobs = [GenerationRequest([5, 9, 14], adapter, 8) for adapter in (None, *others)]
    before = engine.generate(jobs)
    bad = Path(shutil.copytree(icons, request.getfixturevalue("tmp_path") / "bad"))
    spoil(bad)
    with pytest.raises(AdapterError, match=reason):
        engine.load_adapter(bad)
    assert engine.generate(jobs) == before
    engine.load_adapter(icons)
    job = GenerationRequest([5, 9, 14], "icons", 8)
    assert engine.generate([job]) == [reference(base, icons, job)]


def test_an_adapter_of_another_base_or_of_its_name_is_refused(
    gemma: Path, llama: Path, icons: Path, tmp_path: Path
) -> None:
    with pytest.raises(AdapterError, match="trained on 'tiny-llama'"):
        Engine.load(str(gemma), device="cpu").load_adapter(icons)
    namesake = make_adapter(llama, tmp_path / "a", "tiny-llama")
    with pytest.raises(AdapterError, match="has the id of its base model"):
        Engine.load(str(llama), device="cpu").load_adapter(namesake)


def test_a_failed_batch_leaves_the_next_alone(engine: Engine, prompts: list[list[int]]) -> None:
    jobs = requests_of(prompts)
    expected = engine.generate(jobs)
    head: Any = engine._model.lm_head

    def fail(*_: object) -> None:
        raise MemoryError("out of memory")

    hook = head.register_forward_pre_hook(fail)
    with pytest.raises(MemoryError):
        engine.generate(jobs)
    hook.remove()
    assert engine.generate(jobs) == expected


def test_threads_share_an_engine(
    engine: Engine, llama: Path, prompts: list[list[int]], tmp_path: Path
) -> None:
    jobs = requests_of(prompts)
    expected = engine.generate(jobs)
    other = make_adapter(llama, tmp_path / "other", "other", r=3, modules=["q_proj", "k_proj", "o_proj"])
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(engine.generate, jobs) for _ in range(6)]
        for _ in range(6):
            engine.load_adapter(other)
            engine.unload_adapter("other")
        assert [answer.result() for answer in answers] == [expected] * 6


def test_files_are_captioned_in_their_order(engine: Engine) -> None:
    outcomes = engine.caption([FILE, b"no svg", FILE.decode(), b""], adapter="logos", max_new_tokens=8)
    good, bad, same, empty = outcomes
    assert isinstance(good, Caption)
    assert (good.drawing.width, good.drawing.elements) == (10, 2)
    assert same == good
    assert isinstance(bad, SvgRejected)
    assert isinstance(empty, SvgRejected)
    drawing, ids = prepare(FILE, engine.tokenizer)
    (generation,) = engine.generate([GenerationRequest(ids, "logos", 8)])
    assert good == Caption(**vars(generation), drawing=drawing)


def test_a_drawing_that_leaves_no_room_for_a_caption(engine: Engine) -> None:
    path = " ".join(f"L{x} {x * x % 97}" for x in range(400))
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 100"><path d="M0 0{path}"/></svg>'
    (outcome,) = engine.caption([svg])
    assert isinstance(outcome, PromptTooLong)
    assert "the limit is 960" in str(outcome)


def test_number_types(llama: Path) -> None:
    assert Engine.load(str(llama), dtype="bfloat16", device="cpu")._model.dtype == torch.bfloat16
    with pytest.raises(ConfigError, match="no number type 'int4'"):
        Engine.load(str(llama), dtype="int4", device="cpu")


def test_four_bits_are_turned_into_sixteen_where_there_is_memory(llama: Path) -> None:
    def load(dequantize: bool | None) -> Any:
        engine = Engine.load(
            str(llama), dtype="bfloat16", quantization="nf4", dequantize=dequantize, device="cpu"
        )
        return engine._model

    quick, slow = load(None), load(False)
    kinds = [type(model.model.layers[0].self_attn.q_proj).__name__ for model in (quick, slow)]
    assert kinds == ["Linear", "Linear4bit"]
    ids = torch.tensor([[5, 9, 14, 23]])
    with torch.inference_mode():
        torch.testing.assert_close(quick(ids).logits, slow(ids).logits, rtol=0.02, atol=0.05)


def test_the_embedded_model_says_something() -> None:
    if not Path(BASE_MODELS["embedded"].source, "model.safetensors").is_file():
        pytest.skip("the embedded model is not there yet")
    (caption,) = Engine.load("embedded", device="cpu").caption([FILE])
    assert isinstance(caption, Caption)
    assert caption.finish_reason == "stop"
    assert len(caption.text.split()) > 1
