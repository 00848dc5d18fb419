"""How many replicas a load needs, and what gives way next: `python -m deploy.capacity --help`.

A simulation of ingress and engines from figures that you measured; it knows nothing of the code it stands
for. Requests come at random (Poisson). An ingress replica works on one at a time; an engine replica reads
prompts one by one, then writes a token for every row of its batch in one step, as continuous batching does.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from typing import Annotated, Any, cast

import numpy as np
import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Service:
    """Measured figures of one replica, and how many there are."""

    prefill_s: float  # for one prompt
    step_s: float  # of a decoding step, before its rows
    row_s: float  # more for each row of the step
    tokens: int  # written for one caption
    batch: int  # rows at once
    ingress_s: float  # of CPU for one request
    engines: int
    ingresses: int

    @property
    def engines_per_s(self) -> float:
        """Captions a second at full batches."""
        one = self.prefill_s + self.tokens * (self.step_s / self.batch + self.row_s)
        return self.engines / max(one, 1e-9)

    @property
    def ingresses_per_s(self) -> float:
        return self.ingresses / max(self.ingress_s, 1e-9)


@dataclass(frozen=True)
class Outcome:
    answered_per_s: float
    p50_s: float
    p95_s: float


def simulate(service: Service, rate: float, seconds: float, seed: int = 0) -> Outcome:
    """Latencies of what arrives in `seconds`; all of it is served, however long that takes."""
    chance = random.Random(seed)
    arrivals, now = [], 0.0
    while (now := now + chance.expovariate(rate)) < seconds:
        arrivals.append(now)
    passed = _through_ingress(arrivals, service)
    finished: dict[int, float] = {}
    for engine in range(service.engines):  # requests are dealt out in turn
        mine = passed[engine :: service.engines]
        ends = _through_engine([when for when, _ in mine], service)
        finished |= {index: end for (_, index), end in zip(mine, ends, strict=True)}
    latencies = sorted(finished[index] - when for index, when in enumerate(arrivals))
    answered_per_s = len(arrivals) / max(finished.values(), default=seconds)
    return Outcome(answered_per_s, p50_s=_quantile(latencies, 0.50), p95_s=_quantile(latencies, 0.95))


def _through_ingress(arrivals: list[float], service: Service) -> list[tuple[float, int]]:
    """When each request leaves the ingress, in that order, with its number."""
    free = [0.0] * service.ingresses
    passed = []
    for index, when in enumerate(arrivals):
        end = max(heapq.heappop(free), when) + service.ingress_s
        heapq.heappush(free, end)
        passed.append((end, index))
    return sorted(passed)


def _through_engine(arrivals: list[float], service: Service) -> list[float]:
    """When each request's caption is complete."""
    ends = [0.0] * len(arrivals)
    rows: dict[int, int] = {}  # request: tokens still to write
    now = 0.0
    following = 0
    while following < len(arrivals) or rows:
        if not rows:
            now = max(now, arrivals[following])
        while following < len(arrivals) and arrivals[following] <= now and len(rows) < service.batch:
            rows[following] = service.tokens
            now += service.prefill_s
            following += 1
        now += service.step_s + service.row_s * len(rows)
        rows = {index: left - 1 for index, left in rows.items()}
        for index in [index for index, left in rows.items() if not left]:
            ends[index] = now
            del rows[index]
    return ends


def _quantile(values: list[float], share: float) -> float:
    return values[min(int(share * len(values)), len(values) - 1)] if values else 0.0


@app.command()
def measure(
    *,
    base_model: Annotated[str, typer.Option(help="Name, Hugging Face id or folder.")] = "embedded",
    quantization: Annotated[str | None, typer.Option(help="nf4, fp4 or int8.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    batch: Annotated[int, typer.Option(min=2)] = 16,
    max_tokens: Annotated[int, typer.Option(min=2)] = 48,
    rounds: Annotated[int, typer.Option(min=3, help="Of batches of several sizes.")] = 12,
) -> None:
    """Measure the engine of this machine on generated drawings, and print the options of `plan`.

    On a CPU in processor time, with one thread: other work on the machine disturbs that little.
    """
    from captioning.engine import Engine, GenerationRequest
    from training.corpora.scenes import generate_scene

    engine = Engine.load(
        base_model,
        quantization=cast("Any", quantization),
        device=device,
        torch_threads=1,
        max_batch_size=batch,
    )
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    seeds = itertools.count()
    work, seconds, prompt_tokens, tokens = [], [], [], []
    for number in range(rounds + 1):
        rows = (1, batch // 2, batch)[number % 3]
        most = 1 if number % 4 == 0 else max_tokens
        requests = [
            GenerationRequest(engine.prepare(generate_scene(next(seeds)).svg, most).prompt_ids, None, most)
            for _ in range(rows)
        ]
        began = clock()
        written = engine.generate(requests)
        if number:  # the first only warms up
            lengths = [generation.completion_tokens for generation in written]
            work.append([rows, max(lengths), sum(lengths)])
            seconds.append(clock() - began)
            prompt_tokens += [generation.prompt_tokens for generation in written]
            tokens += lengths if most > 1 else []
    engine.close()
    prefill, step, row = np.linalg.lstsq(np.array(work, float), np.array(seconds), rcond=None)[0] * 1000
    print(
        f"prompts of {statistics.mean(prompt_tokens):.0f} tokens, captions of {statistics.mean(tokens):.0f}:"
    )
    print(
        f"--prefill-ms {prefill:.1f} --step-ms {max(step, 0):.2f} --row-ms {max(row, 0):.2f} "
        f"--tokens {statistics.mean(tokens):.0f} --batch {batch}"
    )


@app.command()
def plan(
    *,
    prefill_ms: Annotated[float, typer.Option(min=0, help="To read one prompt.")],
    step_ms: Annotated[float, typer.Option(min=0, help="One decoding step without rows.")],
    row_ms: Annotated[float, typer.Option(min=0, help="What each row adds to a step.")],
    ingress_ms: Annotated[float, typer.Option(min=0, help="CPU of proxy and ingress for one request.")],
    users: Annotated[int, typer.Option(min=1)],
    every_s: Annotated[float, typer.Option(min=0.001, help="Between two requests of one user.")],
    tokens: Annotated[int, typer.Option(min=1, help="Of one caption.")] = 30,
    batch: Annotated[int, typer.Option(min=1, help="Captions written at once by an engine.")] = 16,
    ingresses: Annotated[int, typer.Option(min=1)] = 1,
    p95_s: Annotated[float, typer.Option(min=0, help="What 95 of 100 requests must be answered in.")] = 2.0,
    price_per_hour: Annotated[float, typer.Option(min=0, help="Of one engine replica.")] = 0.0,
    minutes: Annotated[float, typer.Option(min=0.1, help="Of simulated load.")] = 5.0,
    most: Annotated[int, typer.Option(min=1, help="Engines to try.")] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Find the fewest engines that keep the latency, and say what is busiest then. Status 1 where none do."""
    rate = users / every_s
    for engines in range(1, most + 1):
        service = Service(
            prefill_s=prefill_ms / 1000,
            step_s=step_ms / 1000,
            row_s=row_ms / 1000,
            tokens=tokens,
            batch=batch,
            ingress_s=ingress_ms / 1000,
            engines=engines,
            ingresses=ingresses,
        )
        outcome = simulate(service, rate, minutes * 60)
        if outcome.p95_s <= p95_s or service.ingresses_per_s < min(rate, service.engines_per_s):
            break  # enough, or more engines would only wait for the ingress
    facts = {
        "enough": outcome.p95_s <= p95_s,
        "engines": engines,
        "offered_per_s": rate,
        **asdict(outcome),
        "engine_load": rate / service.engines_per_s,
        "ingress_load": rate / service.ingresses_per_s,
        "cost_per_million": engines * price_per_hour / 3600 / rate * 1e6,
    }
    print(json.dumps(facts) if as_json else _text(facts))
    sys.exit(not facts["enough"])


def _text(facts: dict[str, Any]) -> str:
    next_limit = "engines" if facts["engine_load"] >= facts["ingress_load"] else "ingress"
    return (
        "{engines} engine(s) for {offered_per_s:.1f} requests/s: p50 {p50_s:.2f} s, p95 {p95_s:.2f} s; "
        "load of the engines {engine_load:.0%}, of the ingress {ingress_load:.0%}; "
        "{cost_per_million:,.2f} per million captions. "
    ).format(**facts) + (f"Next limit: {next_limit}." if facts["enough"] else f"NOT ENOUGH: {next_limit}.")


if __name__ == "__main__":
    app()
