from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from accelerate.state import AcceleratorState
from bitsandbytes.nn import Linear4bit, Linear8bitLt, Params4bit
from peft import PeftModel
from torch import Tensor, nn
from torch.distributed import destroy_process_group, init_process_group
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoConfig, PreTrainedModel

from captioning.adapters import read_weights, write_adapter
from captioning.base_models import Quantization, load_model, quantization_of, resolve
from captioning.engine import Engine
from captioning.errors import AdapterError, ConfigError
from tests.captioning.helpers import make_manifest
from tests.training.helpers import examples, fresh_accelerator, loop_for, recipe_for
from training import model
from training.checkpoints import CheckpointFolder
from training.data import collate
from training.loop import completion_loss
from training.progress import MetricsLog

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all linear, rslora": {"target_modules": "all-linear", "rslora": True},
    "gate, up, down": {"target_modules": ["gate_proj", "up_proj", "down_proj"]},
    "dora": {"dora": True},
    "norms in full": {"modules_to_save": ["norm", "input_layernorm"]},
    "gaussian": {"init": "gaussian"},
    "orthogonal": {"init": "orthogonal"},
}
LOFTQ: dict[str, dict[str, Any]] = {
    "loftq": {"init": "loftq"},
    "loftq, dora": {"init": "loftq", "dora": True},
}
EMBEDDINGS: dict[str, dict[str, Any]] = {
    "head in full": {"modules_to_save": ["lm_head", "embed_tokens"]}
}  # Gemma's are one matrix

families = pytest.mark.parametrize("family", ["tiny_llama", "tiny_gemma2"])


def options(settings: dict[str, dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("lora", settings.values(), ids=settings.keys())


@pytest.fixture
def base(family: str, request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(family)
    return folder


@pytest.fixture(autouse=True)
def _one_accelerator_per_test() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def _build(base: Path, **changes: Any) -> PeftModel:
    recipe = recipe_for(base, **changes)
    return model.build(recipe, resolve(recipe.model), "cpu")


def _logits(network: nn.Module, base: Path, **options: Any) -> Tensor:
    batch = collate(examples(base, 3))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits: Tensor = network.eval()(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            **options,
        ).logits.float()
    return logits


def _gradients(network: nn.Module, base: Path) -> dict[str, Tensor]:
    """Of every trained weight, None where it received none."""
    network.train().zero_grad()
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        completion_loss(network, collate(examples(base, 3))).backward()
    assert all(weight.grad is not None for weight in model.trainable(network).values())
    return {name: weight.grad.clone() for name, weight in model.trainable(network).items()}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("quantization", "option"),
    [
        *itertools.product(["nf4"], OPTIONS),
        *itertools.product(["fp4", "int8", None], ["all linear, rslora", "norms in full", "orthogonal"]),
        ("fp4", "dora"),
        (None, "dora"),
    ],
)
def test_what_is_trained_is_float32_and_all_else_is_frozen(
    quantization: Quantization | None, option: str, tiny_llama: Path
) -> None:
    lora = OPTIONS[option]
    built = _build(tiny_llama, quantization=quantization, lora=lora)
    assert {weight.dtype for weight in model.trainable(built).values()} == {torch.float32}
    parts = {part for name in model.trainable(built) for part in name.split(".")}
    assert ("modules_to_save" in parts) == ("modules_to_save" in lora)
    assert ("lora_magnitude_vector" in parts) == lora.get("dora", False)
    frozen = {weight.dtype for weight in built.parameters() if not weight.requires_grad}
    packed = {"nf4": {torch.uint8}, "fp4": {torch.uint8}, "int8": {torch.int8}, None: set()}
    assert frozen == {torch.bfloat16} | packed[quantization]
    assert quantization_of(cast(PreTrainedModel, built.get_base_model())) == quantization


@families
@options(OPTIONS)
def test_the_adapter_begins_without_effect(lora: dict[str, Any], base: Path) -> None:
    built = _build(base, lora=lora)
    expected = _logits(load_model(resolve(str(base)), dtype=torch.bfloat16, quantization="nf4"), base)
    # Norms in float32 round less than in bfloat16; peft rounds the lengths of DoRA's rows to bfloat16.
    assert (_logits(built, base) - expected).norm() < (0.04 if "dora" in lora else 0.02) * expected.norm()


@families
def test_an_orthogonal_beginning_is_not_zero_but_adds_up_to_it(base: Path) -> None:
    built = _build(base, lora={"init": "orthogonal"})
    weights = model.trainable(built)
    for name, a in weights.items():
        if "lora_A" in name:
            b = weights[name.replace("lora_A", "lora_B")]
            assert (b @ a).norm() < 1e-5 * b.norm() * a.norm()
            assert b.norm() > 0.1


@families
@pytest.mark.parametrize(
    ("quantization", "option"),
    [("nf4", "dora"), ("nf4", "norms in full"), ("int8", "plain"), ("fp4", "loftq, dora")],
)
def test_activation_checkpointing_gives_the_same_gradients(
    quantization: Quantization | None, option: str, base: Path
) -> None:
    settings: dict[str, Any] = {"quantization": quantization, "lora": (OPTIONS | LOFTQ)[option]}
    plain, checkpointed = (
        _gradients(_build(base, **settings, activation_checkpointing=on), base) for on in (False, True)
    )
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


@pytest.fixture
def _one_process(tmp_path: Path) -> Iterator[None]:
    init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    destroy_process_group()


@pytest.mark.usefixtures("_one_process")
@options(OPTIONS | EMBEDDINGS)
def test_no_trained_weight_is_left_out_when_workers_average(lora: dict[str, Any], tiny_llama: Path) -> None:
    """A weight without a gradient makes the second step fail."""
    built = _build(tiny_llama, lora=lora, activation_checkpointing=True)
    network = DistributedDataParallel(built)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            completion_loss(network, collate(examples(tiny_llama, 3))).backward()


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU:UserWarning")
@pytest.mark.parametrize(
    ("quantization", "option"),
    [("nf4", "norms in full"), ("nf4", "head in full"), ("fp4", "loftq, dora"), ("int8", "orthogonal")],
)
def test_a_run_learns_writes_captions_and_resumes(
    quantization: Quantization, option: str, tiny_llama: Path, tmp_path: Path
) -> None:
    lora = (OPTIONS | LOFTQ | EMBEDDINGS)[option]
    recipe = recipe_for(
        tiny_llama, quantization=quantization, lora=lora, activation_checkpointing=True, epochs=2
    )
    splits = examples(tiny_llama, 16, seed=1), examples(tiny_llama, 6, seed=2)
    loop = loop_for(recipe, *splits, CheckpointFolder(tmp_path, keep=2))
    outcome = loop.run(MetricsLog(tmp_path / "metrics.jsonl"))
    assert outcome.status == "completed"
    assert outcome.progress.best_loss < outcome.progress.first_loss - 0.5
    assert '"captions"' in (tmp_path / "metrics.jsonl").read_text()
    resumed = loop_for(recipe, *splits, CheckpointFolder(tmp_path, keep=2))
    resumed.resume()
    assert resumed.validation_loss() == outcome.progress.last_loss


@options(OPTIONS | LOFTQ | EMBEDDINGS)
def test_what_is_trained_is_what_is_exported(lora: dict[str, Any], tiny_llama: Path, tmp_path: Path) -> None:
    """The export fills a model on the meta device; plain peft reads it."""
    recipe = recipe_for(tiny_llama, precision="fp32", lora=lora)
    built = model.build(recipe, resolve(recipe.model), "cpu")
    torch.manual_seed(1)
    for weight in model.trainable(built).values():
        weight.data += 0.02 * torch.randn_like(weight)
    config = AutoConfig.from_pretrained(tiny_llama)
    exported = model.with_lora(model.on_meta(config), recipe.lora, meta=True)
    exported.load_state_dict(model.copied(model.trainable(built)), strict=False, assign=True)
    folder = write_adapter(tmp_path / "adapter", exported, make_manifest(str(tiny_llama)))
    plain = load_model(resolve(str(tiny_llama)), dtype=torch.float32, quantization="nf4")
    loaded = PeftModel.from_pretrained(plain, str(folder))
    batch = collate(examples(tiny_llama, 3))
    losses = [completion_loss(network.eval(), batch) for network in (built, loaded)]
    torch.testing.assert_close(*losses, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("precision", "feature", "expected"),
    [
        ("auto", "avx2", torch.float32),
        ("auto", "amx_bf16", torch.bfloat16),
        ("bf16", "avx2", torch.bfloat16),
        ("fp32", "amx_bf16", torch.float32),
    ],
)
def test_precision_is_the_recipes_or_what_the_hardware_is_fast_in(
    precision: str,
    feature: str,
    expected: torch.dtype,
    tiny_llama: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {feature: True})
    recipe = recipe_for(tiny_llama, precision=precision)
    built = model.build(recipe, resolve(recipe.model), "cpu")
    assert {weight.dtype for name, weight in built.named_parameters() if "norm" in name} == {expected}
    assert fresh_accelerator(recipe).mixed_precision == ("bf16" if expected == torch.bfloat16 else "no")


@families
@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("quantization", ["nf4", "fp4"])
def test_4_bit_layers_are_of_the_kind_asked_for(quantization: str, double: bool, base: Path) -> None:
    built = _build(base, quantization=quantization, double_quantization=double)
    layers = [layer for layer in built.modules() if isinstance(layer, Linear4bit)]
    states = [cast(Params4bit, layer.weight).quant_state for layer in layers]
    assert len(layers) == 2 * 7
    assert {(state.quant_type, state.nested) for state in states} == {(quantization, double)}


@families
def test_8_bit_layers_train_as_their_rounded_weights_do(base: Path) -> None:
    """In float32, where nothing else is rounded."""
    settings: dict[str, Any] = {"precision": "fp32", "lora": {"dropout": 0.0}}
    built = _build(base, quantization="int8", **settings)
    reference = _build(base, quantization=None, **settings)
    rounded = dict(reference.named_modules())
    layers = {name: layer for name, layer in built.named_modules() if isinstance(layer, Linear8bitLt)}
    assert len(layers) == 2 * 7
    for name, layer in layers.items():
        packed: Any = layer.weight
        rounded[name].weight.data = packed.data * packed.SCB[:, None] / 127
    batch = collate(examples(base, 3))
    for network in (built, reference):
        completion_loss(network.train(), batch).backward()
    expected = model.trainable(reference)
    for name, weight in model.trainable(built).items():
        torch.testing.assert_close(weight.grad, expected[name].grad, rtol=1e-3, atol=1e-4)


@families
def test_gemma_2_caps_its_logits_and_llama_does_not(base: Path, family: str) -> None:
    """Under NF4, LoRA and the short head, as in training."""
    built = _build(base)
    whole, short = _logits(built, base), _logits(built, base, logits_to_keep=5)
    torch.testing.assert_close(short, whole[:, -5:])
    assert hasattr(built.config, "final_logit_softcapping") == (family == "tiny_gemma2")
    if family == "tiny_llama":
        return
    built.config.final_logit_softcapping = 2.0
    capped = _logits(built, base, logits_to_keep=5)
    built.config.final_logit_softcapping = None
    raw = _logits(built, base, logits_to_keep=5)
    assert capped.abs().max() <= 2.0 < raw.abs().max()
    torch.testing.assert_close(capped, 2 * torch.tanh(raw / 2), rtol=0.02, atol=0.02)
    assert built.config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("family", "lora", "message"),
    [
        ("tiny_llama", {"target_modules": ["embed_tokens"]}, "has no embed_tokens. Its linear layers: down_"),
        ("tiny_gemma2", {"target_modules": ["lm_head"]}, "has no lm_head. Its linear layers: down_"),
        (
            "tiny_llama",
            {"modules_to_save": ["down_proj"]},
            "no down_proj that can be trained in full. It has:",
        ),
        (
            "tiny_llama",
            {"modules_to_save": ["layers"]},
            "It has: embed_tokens, input_layernorm, lm_head, norm,",
        ),
        ("tiny_gemma2", {"modules_to_save": ["lm_head"]}, "Its embeddings and head share their weights."),
    ],
)
def test_modules_that_cannot_be_had_are_refused_without_weights(
    base: Path, lora: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        model.check(recipe_for(base, lora=lora), resolve(str(base)))
    assert message in str(error.value)


def test_a_name_is_the_whole_name(tiny_llama: Path) -> None:
    built = _build(tiny_llama, lora={"modules_to_save": ["norm"]})
    saved = [name for name in model.trainable(built) if "modules_to_save" in name]
    assert saved == ["base_model.model.model.norm.modules_to_save.default.weight"]


@pytest.mark.parametrize("lora", [{"dora": True}, {"modules_to_save": ["norm"]}])
def test_what_does_not_run_as_an_adapter_is_to_be_merged(
    lora: dict[str, Any], tiny_llama: Path, tmp_path: Path
) -> None:
    built = _build(tiny_llama, lora=lora)
    folder = write_adapter(tmp_path / "adapter", built, make_manifest(str(tiny_llama)))
    with pytest.raises(AdapterError, match=rf"python -m training merge {folder} OUT\) and serve OUT"):
        read_weights(folder)


@pytest.mark.parametrize(("quantization", "warned"), [("nf4", False), (None, True), ("fp4", True)])
def test_a_loftq_adapter_on_other_rounding_is_warned_of(
    quantization: Quantization | None,
    warned: bool,
    tiny_llama: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recipe = recipe_for(tiny_llama, lora={"init": "loftq"})
    built = model.build(recipe, resolve(recipe.model), "cpu")
    manifest = make_manifest(str(tiny_llama), recipe=recipe.model_dump(mode="json"))
    engine = Engine.load(str(tiny_llama), quantization=quantization, device="cpu")
    engine.load_adapter(write_adapter(tmp_path / "adapter", built, manifest))
    assert ("Load it with quantization=nf4." in caplog.text) == warned
