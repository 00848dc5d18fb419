"""Requests per second of the engine with mixed adapters, against what else could serve them.

    python benchmarks/serve_engine.py [--quick]

Peers, in the same run and by turns with ours: `generate` one request after the other, static batches by
peft's `adapter_names`, and transformers' own continuous batching, which knows the base model only. And
ours with one adapter in place of all. A closed loop: so many clients, each asks again when it is answered.
Beside the wall clock stands the processor time, which other work on the machine disturbs less. The
arithmetic limit is what the base model's linear layers alone take for the same tokens, in batches as full
as the clients allow: without attention, adapters, and choosing tokens.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import ContinuousBatchingConfig, GenerationConfig, PreTrainedModel

from captioning.adapters import Manifest, library_versions, write_adapter
from captioning.base_models import auto_dtype, load_model, resolve, weight_fingerprint
from captioning.engine import Engine, GenerationRequest, Ticket
from captioning.prompt import PROMPT_VERSION
from rendering import CANONICALIZER_VERSION
from training.corpora.scenes import generate_scene

BASE = resolve("embedded")
MAX_NEW_TOKENS = 48
RANK = 8
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj"]
SIZE = 0.02  # of random weights: the captions stay captions, and end as captions do
STATIC_BATCH = 16
PROMPT_ROWS = 256  # tokens of prompts that the limit takes at once

OURS = "engine"
ONE_ADAPTER = "engine, one adapter"
ONE_BY_ONE = "generate, one by one"
BASE_ONLY = "transformers continuous, base"

Job = tuple[list[int], str | None]  # prompt and adapter


@dataclass(frozen=True)
class Round:
    """One system's answers to all jobs."""

    requests: int
    wall_s: float
    processor_s: float
    latencies_s: list[float]
    new_tokens: int


Serve = Callable[[Sequence[Job], int], tuple[list[float], int]]
"""Answers jobs for so many clients; returns each one's seconds, and all tokens written."""


def write_adapters(folder: Path, count: int) -> list[Path]:
    torch.manual_seed(0)
    config = LoraConfig(
        r=RANK, lora_alpha=RANK, target_modules=MODULES, init_lora_weights=False, task_type="CAUSAL_LM"
    )
    model = get_peft_model(load_model(BASE, dtype=torch.float32), config)
    weights = [weight for name, weight in model.named_parameters() if "lora_" in name]
    return [_write_adapter(folder / f"icons-{number}", model, weights) for number in range(count)]


def _write_adapter(folder: Path, model: Any, weights: Sequence[torch.nn.Parameter]) -> Path:
    for weight in weights:
        weight.data.normal_(std=SIZE)
    manifest = Manifest(
        adapter_id=folder.name,
        base_model=BASE.id,
        base_fingerprint=weight_fingerprint(BASE),
        prompt_version=PROMPT_VERSION,
        canonicalizer_version=CANONICALIZER_VERSION,
        recipe={},
        corpus_fingerprint="sha256:0",
        metrics={},
        library_versions=library_versions(),
        created="2025-01-01T00:00:00Z",
    )
    return write_adapter(folder, model, manifest)


def ours(engine: Engine) -> Serve:
    def serve(jobs: Sequence[Job], clients: int) -> tuple[list[float], int]:
        left, all_done = iter(jobs), threading.Event()
        latencies: list[float] = []
        tokens = 0
        tickets: list[Ticket] = []

        def ask() -> None:
            job = next(left, None)
            if job is None:
                return
            prompt, adapter = job
            ticket = engine.submit(GenerationRequest(prompt, adapter, max_new_tokens=MAX_NEW_TOKENS))
            tickets.append(ticket)
            ticket.when_done(lambda: answered(ticket))

        def answered(ticket: Ticket) -> None:
            latencies.append(time.monotonic() - ticket.submitted)
            if len(latencies) == len(jobs):
                all_done.set()
            ask()

        for _ in range(clients):
            ask()
        all_done.wait()
        tokens = sum(text.completion_tokens for ticket in tickets for text in ticket.result())
        return latencies, tokens

    return serve


def batches(generate: Callable[[Sequence[Job]], int], size: int) -> Serve:
    """A queue that is served in batches of up to `size`; 1: one by one."""

    def serve(jobs: Sequence[Job], clients: int) -> tuple[list[float], int]:
        began = time.monotonic()
        asked = [began] * min(clients, len(jobs))  # when each request came that has come
        tokens, first = 0, 0
        latencies: list[float] = []
        while first < len(jobs):
            batch = jobs[first : min(first + size, len(asked))]
            tokens += generate(batch)
            now = time.monotonic()
            latencies += [now - asked[first + number] for number in range(len(batch))]
            first += len(batch)
            asked += [now] * min(len(batch), len(jobs) - len(asked))
        return latencies, tokens

    return serve


def with_peft(model: Any, pad_id: int, *, by_names: bool) -> Callable[[Sequence[Job]], int]:
    """peft in a loop: `set_adapter` before each request, or `adapter_names` for a padded batch."""
    options = {"max_new_tokens": MAX_NEW_TOKENS, "do_sample": False}

    def generate(batch: Sequence[Job]) -> int:
        longest = max(len(prompt) for prompt, _ in batch)
        pads = [longest - len(prompt) for prompt, _ in batch]
        ids = torch.tensor([[pad_id] * pad + prompt for pad, (prompt, _) in zip(pads, batch, strict=True)])
        mask = torch.tensor([[0] * pad + [1] * (longest - pad) for pad in pads])
        settings: dict[str, Any] = dict(options)
        if by_names:
            settings["adapter_names"] = [adapter or "__base__" for _, adapter in batch]
        elif adapter := batch[0][1]:
            model.set_adapter(adapter)
        else:
            with model.disable_adapter():
                return _count(model.generate(input_ids=ids, attention_mask=mask, **settings), longest, pad_id)
        return _count(model.generate(input_ids=ids, attention_mask=mask, **settings), longest, pad_id)

    return generate


def _count(output: torch.Tensor, prompt_tokens: int, pad_id: int) -> int:
    return int((output[:, prompt_tokens:] != pad_id).sum())


def continuous(model: PreTrainedModel) -> Serve:
    """transformers' own, on the base model; it gets all jobs at once, so it has no latencies to show."""

    def serve(jobs: Sequence[Job], clients: int) -> tuple[list[float], int]:
        outputs = cast(Any, model).generate_batch(
            [prompt for prompt, _ in jobs],
            generation_config=GenerationConfig(
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=False,
                eos_token_id=model.generation_config.eos_token_id,
                pad_token_id=model.generation_config.pad_token_id,
            ),
            continuous_batching_config=ContinuousBatchingConfig(
                page_size=32, num_blocks=1024, max_batch_tokens=1024, max_requests_per_batch=max(2, clients)
            ),
        )
        return [], sum(len(output.generated_tokens) for output in outputs.values())

    return serve


def measure(serve: Serve, jobs: Sequence[Job], clients: int) -> Round:
    wall, processor = time.monotonic(), time.process_time()
    latencies, tokens = serve(jobs, clients)
    return Round(len(jobs), time.monotonic() - wall, time.process_time() - processor, latencies, tokens)


def mixed(prompts: Sequence[list[int]], adapters: Sequence[str | None]) -> list[Job]:
    return [(prompt, adapters[number % len(adapters)]) for number, prompt in enumerate(prompts)]


def rows(rounds: dict[str, list[Round]]) -> Iterator[str]:
    """Medians over rounds; the ratios are ours by the peer, round by round."""
    own = rounds[OURS]
    for name, measured in rounds.items():
        wall = statistics.median(one.requests / one.wall_s for one in measured)
        cost = statistics.median(1000 * one.processor_s / one.requests for one in measured)
        tokens = statistics.median(one.new_tokens / one.requests for one in measured)
        pairs = list(zip(own, measured, strict=True))
        by_wall = statistics.median(theirs.wall_s / ours.wall_s for ours, theirs in pairs)
        by_cost = statistics.median(theirs.processor_s / ours.processor_s for ours, theirs in pairs)
        latencies = sorted(second for one in measured for second in one.latencies_s)
        shown = [
            f"{1000 * latencies[int(share * (len(latencies) - 1))]:7.0f}"
            for share in (0.5, 0.99)
            if latencies
        ]
        yield (
            f"  {name:<30}{wall:7.2f} req/s {cost:7.0f} ms processor/req {tokens:5.1f} tokens  "
            f"p50, p99 ms {' '.join(shown) or '-':<16} ours is {by_wall:5.2f}x, by processor {by_cost:5.2f}x"
        )


def load_systems(adapters: int, batch: int) -> tuple[Engine, dict[str, Serve]]:
    """The engine and all that serve, ours first, with the same random adapters."""
    dtype = auto_dtype("cpu")
    engine = Engine.load("embedded", device="cpu", dtype=dtype, max_batch_size=batch)
    with tempfile.TemporaryDirectory() as folder:
        first, *others = write_adapters(Path(folder), adapters)
        base = load_model(BASE, dtype=dtype)
        adapted = PeftModel.from_pretrained(base, str(first), adapter_name=first.name).eval()
        engine.load_adapter(first)
        for path in others:
            engine.load_adapter(path)
            adapted.load_adapter(str(path), adapter_name=path.name)
    pad_id = int(engine.tokenizer.pad_token_id or 0)
    by_names = with_peft(adapted, pad_id, by_names=True)
    return engine, {
        OURS: ours(engine),
        ONE_ADAPTER: ours(engine),
        ONE_BY_ONE: batches(with_peft(adapted, pad_id, by_names=False), 1),
        f"peft adapter_names, by {STATIC_BATCH}": batches(by_names, STATIC_BATCH),
        BASE_ONLY: continuous(load_model(BASE, dtype=dtype)),
    }


def prompts_of(engine: Engine, requests: int) -> list[list[int]]:
    return [engine.prepare(generate_scene(seed).svg).prompt_ids for seed in range(requests)]


def compare(
    engine: Engine, systems: dict[str, Serve], clients: int, requests: int, turns: int
) -> dict[str, list[Round]]:
    """All systems by turns, after one turn that warms up: kernels are made for every shape that is new."""
    prompts = prompts_of(engine, requests)
    names = list(engine.adapters)
    mixes: dict[str, list[str | None]] = {ONE_ADAPTER: [*names[:1]], BASE_ONLY: [None]}
    rounds: dict[str, list[Round]] = defaultdict(list)
    for turn in range(turns + 1):
        for name, serve in systems.items():
            if clients == 1 and name not in {OURS, ONE_BY_ONE}:
                continue
            found = measure(serve, mixed(prompts, mixes.get(name, [None, *names])), clients)
            if turn:
                rounds[name].append(found)
    return rounds


def arithmetic_limit_s(
    model: PreTrainedModel, jobs: Sequence[Job], new_tokens: int, clients: int, batch: int
) -> float:
    """Seconds that the jobs' multiplications take, measured now: the best of several passes of each shape."""
    head = model.get_output_embeddings()
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    prompt_tokens = sum(len(prompt) for prompt, _ in jobs)
    rows = min(clients, batch)
    reading = _pass_s([layer for layer in layers if layer is not head], PROMPT_ROWS)
    return reading * prompt_tokens / PROMPT_ROWS + _pass_s(layers, rows) * new_tokens / rows


def _pass_s(layers: Sequence[torch.nn.Linear], rows: int) -> float:
    inputs = {
        size: torch.ones(rows, size, dtype=layers[0].weight.dtype)
        for size in {layer.in_features for layer in layers}
    }
    best = float("inf")
    with torch.inference_mode():
        for _ in range(20):
            started = time.perf_counter()
            for layer in layers:
                layer(inputs[layer.in_features])
            best = min(best, time.perf_counter() - started)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer requests, one round")
    parser.add_argument("--adapters", type=int, default=16)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 8, 32, 64])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32, help="texts that the engine writes at once")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    engine, systems = load_systems(options.adapters, options.batch)
    plain = load_model(BASE, dtype=auto_dtype("cpu"))
    print(f"embedded model in {auto_dtype('cpu')}, {options.adapters} adapters of rank {RANK}")
    for clients in options.clients:
        requests = max(4, clients) if options.quick else max(16, 4 * clients)
        rounds = compare(engine, systems, clients, requests, turns=1 if options.quick else 3)
        print(f"{clients} clients, {requests} requests, {options.threads} torch thread(s)")
        print("\n".join(rows(rounds)), flush=True)
        own = statistics.median(one.requests / one.wall_s for one in rounds[OURS])
        tokens = rounds[OURS][0].new_tokens
        jobs = [(prompt, None) for prompt in prompts_of(engine, requests)]
        limit = requests / arithmetic_limit_s(plain, jobs, tokens, clients, options.batch)
        print(
            f"  {'arithmetic limit':<30}{limit:7.2f} req/s; ours reaches {own / limit:.2f} of it", flush=True
        )
    engine.close()


if __name__ == "__main__":
    main()
