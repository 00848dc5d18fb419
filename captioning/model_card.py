"""Model cards: the README.md of an adapter or of a merged model, with the front matter that hubs read.

What a run has to tell (its loss curve, its corpus) is handed in as finished Markdown.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioning.base_models import BASE_MODELS
from captioning.prompt import INSTRUCTION, TEMPLATE_DATE

if TYPE_CHECKING:
    from captioning.adapters import Manifest

MERGED_FILE = "merged_from.json"  # where an adapter was merged into a model: the adapter's manifest

# The hub's names of the licences under which the base models are, and what is made from them.
_LICENSES = {"embedded": "apache-2.0", "llama-3.1-8b": "llama3.1", "gemma-2-9b": "gemma"}

_NOT_RESULTS = frozenset({"best_step", "validation_loss_before"})  # of the manifest's metrics
_VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the values that its --max-lora-rank takes


def adapter_card(manifest: Manifest, training: str = "") -> str:
    """The card of an adapter folder; `training` are sections about its run."""
    front_matter = _front_matter(manifest, library_name="peft", tags=["svg", "image-captioning", "lora"])
    return f"""{front_matter}
# {manifest.adapter_id}

Says in one sentence what an SVG drawing shows. A LoRA adapter of the base model
`{manifest.base_model}`, trained {manifest.created}.

## Use

{_adapter_use(manifest)}
{_program(manifest, is_adapter=True)}
{_notes(manifest)}.

{_facts(manifest, training)}"""


def merged_card(manifest: Manifest, dtype: str) -> str:
    """The card of a model folder into which the manifest's adapter was merged, with weights of that type."""
    front_matter = _front_matter(
        manifest,
        library_name="transformers",
        tags=["svg", "image-captioning"],
        base_model_relation="finetune",
    )
    return f"""{front_matter}
# {manifest.adapter_id}, merged

Says in one sentence what an SVG drawing shows. The adapter `{manifest.adapter_id}`, trained
{manifest.created}, merged into the weights of the base model `{manifest.base_model}`, in {dtype}.
`{MERGED_FILE}` holds the adapter's manifest.

## Use

    python -m captioning drawing.svg --model FOLDER
    vllm serve FOLDER

{_program(manifest, is_adapter=False)}
{_notes(manifest)}, before the merge.

{_facts(manifest)}"""


def public_source(base_model: str) -> str:
    """What others load the base model by, never where it lies on the machine that trained."""
    if base_model == "embedded":
        return "captioning/embedded"
    spec = BASE_MODELS.get(base_model)
    return spec.source if spec and not spec.is_local else base_model


def recipe_facts(manifest: Manifest) -> dict[str, Any]:
    """The recipe as others may see it: of a corpus file, its name only."""
    corpus = manifest.recipe.get("corpus") or {}
    public = {key: Path(value).name if isinstance(value, str) else value for key, value in corpus.items()}
    return manifest.recipe | ({"corpus": public} if public else {})


def _front_matter(manifest: Manifest, **fields: Any) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = {
        _hub_metric(name): value for name, value in manifest.metrics.items() if name not in _NOT_RESULTS
    }
    data = ModelCardData(
        base_model=public_source(manifest.base_model),
        eval_results=[
            EvalResult(
                task_type="text-generation",
                dataset_type="svg-captions",
                dataset_name="validation split",
                metric_type=name,
                metric_value=float(f"{value:.6g}"),
            )
            for name, value in sorted(results.items())
        ],
        language="en",
        license=_LICENSES.get(manifest.base_model),
        metrics=sorted(results) or None,
        model_name=manifest.adapter_id,
        pipeline_tag="text-generation",
        **fields,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _hub_metric(name: str) -> str:
    return "loss" if name == "validation_loss" else name


def _adapter_use(manifest: Manifest) -> str:
    lora = manifest.recipe.get("lora") or {}
    if lora.get("dora") or lora.get("modules_to_save"):
        return """Our engine and vLLM run it merged into its base model; peft runs it as it is:

    python -m training merge FOLDER MERGED
    python -m captioning drawing.svg --model MERGED
"""
    rank = next((rank for rank in _VLLM_RANKS if rank >= int(lora.get("r", 8))), _VLLM_RANKS[-1])
    return f"""    python -m captioning drawing.svg --model {manifest.base_model} --adapter FOLDER
    vllm serve {public_source(manifest.base_model)} --enable-lora --max-lora-rank {rank} \\
        --lora-modules {manifest.adapter_id}=FOLDER

With peft, whose `FOLDER` is called `{manifest.adapter_id}` here:
"""


def _program(manifest: Manifest, *, is_adapter: bool) -> str:
    """Python that writes one caption by transformers, and peft where there is an adapter to load."""
    base = BASE_MODELS.get(manifest.base_model)
    attention = ', attn_implementation="eager"' if base and base.attn_implementation == "eager" else ""
    source = public_source(manifest.base_model) if is_adapter else "FOLDER"
    adapt = f'model = PeftModel.from_pretrained(model, "{manifest.adapter_id}")'
    lines = [
        *(["from peft import PeftModel"] if is_adapter else []),
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f'tokenizer = AutoTokenizer.from_pretrained("{source}")',
        f'model = AutoModelForCausalLM.from_pretrained("{source}", dtype="auto"{attention})',
        *([adapt] if is_adapter else []),
        """svg = '<svg viewBox="0 0 1000 1000"><circle cx="500" cy="500" r="250" fill="red"/></svg>'""",
        f'instruction = "{INSTRUCTION}"',
        'message = instruction + "\\n```svg\\n" + svg + "\\n```"',
        "prompt = tokenizer.apply_chat_template(",
        '    [{"role": "user", "content": message}], add_generation_prompt=True, return_tensors="pt",',
        f'    date_string="{TEMPLATE_DATE}",  # some templates write the date into the prompt',
        ")",
        "answer = model.generate(**prompt, max_new_tokens=64, do_sample=False)",
        'caption = tokenizer.decode(answer[0, prompt["input_ids"].shape[1]:], skip_special_tokens=True)',
        "print(caption)",
    ]
    return "\n".join(["````python", *lines, "````", ""])


def _notes(manifest: Manifest) -> str:
    quantization = manifest.recipe.get("quantization")
    base = f"base model held in {quantization}" if quantization else "base model as it is"
    return f"""The prompt is version {manifest.prompt_version}; the drawing in it is canonical text of version
{manifest.canonicalizer_version}, which `python -m rendering canonicalize FILE` prints. With other prompts the
captions are worse than the scores below, which were measured with the {base}"""


def _facts(manifest: Manifest, training: str = "") -> str:
    scores = "\n".join(f"| {name} | {value:.4g} |" for name, value in sorted(manifest.metrics.items()))
    versions = ", ".join(f"{name} {version}" for name, version in sorted(manifest.library_versions.items()))
    recipe = json.dumps(recipe_facts(manifest), indent=2, sort_keys=True, ensure_ascii=False)
    return f"""## Scores

| metric | value |
|---|---|
{scores}

{training}## Origin

- Base model: `{manifest.base_model}`, weights `{manifest.base_fingerprint}`; its licence goes on to hold
- Training corpus: `{manifest.corpus_fingerprint}`
- Made with {versions}

<details><summary>The whole recipe</summary>

```json
{recipe}
```

</details>
"""
