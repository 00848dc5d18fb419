"""Scoring with all text metrics against pycocoevalcap's own way, and batched captioning against one by one.

    python benchmarks/score.py [--candidates 5000] [--drawings 64]

pycocoevalcap's way is that of its `eval.py`: each metric after the other, METEOR through one Java process.
Both sides get the same captions of generated scenes, a tenth of them with odd characters, and must agree to
1e-9. Captioning is by the embedded model, on one thread pool as the suite has it.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, TypeVar

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from captioning.corpus import Sample
from captioning.engine import Engine
from evaluation.captioners.engine import EngineCaptioner
from evaluation.errors import Unavailable
from evaluation.scoring import of_words
from training.corpora.scenes import Scene, generate_scene

ODD = (
    "|||",
    "...",
    "\u2019s",
    "(round)",
    "#FF0000",
    "caf\u00e9",
    "\u4e2d\u6587",
    "\U0001f600",
    "1/2",
    "&lt;",
    "-lrb-",
)
Found = dict[str, tuple[float, Sequence[float]]]
"""By metric: the score of the corpus, and of each sample."""

Result = TypeVar("Result")


def captions(scenes: Sequence[Scene]) -> list[str]:
    """A reference of the scene or of another one, a tenth with an odd word."""
    rng = random.Random(1)
    made = []
    for scene in scenes:
        words = rng.choice((scene if rng.random() < 0.5 else rng.choice(scenes)).references).split()
        if rng.random() < 0.1:
            words.insert(rng.randrange(len(words)), rng.choice(ODD))
        made.append(" ".join(words))
    return made


def theirs(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Found:
    tokenizer = PTBTokenizer()
    said = tokenizer.tokenize({i: [{"caption": text}] for i, text in enumerate(candidates)})
    right = tokenizer.tokenize(
        {i: [{"caption": text} for text in texts] for i, texts in enumerate(references)}
    )
    scores, by_sample = Bleu(4).compute_score(right, said, verbose=0)
    found: dict[str, Any] = {
        f"bleu_{n}": pair for n, pair in enumerate(zip(scores, by_sample, strict=True), 1)
    }
    for name, metric in (("meteor", Meteor()), ("rouge_l", Rouge()), ("cider", Cider())):
        found[name] = metric.compute_score(right, said)
    return found


def ours(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Found:
    found: Found = {}
    for outcome in of_words(("bleu", "rouge_l", "meteor", "cider"), [candidates], references).values():
        if isinstance(outcome, Unavailable):
            raise outcome
        [measured] = outcome
        found |= {
            one.name: (one.corpus_score(), [float(value) for value in one.sample_scores()])
            for one in measured
        }
    return found


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def compare_scoring(n_candidates: int) -> None:
    scenes = [generate_scene(seed) for seed in range(n_candidates)]
    candidates, references = captions(scenes), [scene.references for scene in scenes]
    found, seconds = timed(lambda: ours(candidates, references))
    expected, their_seconds = timed(lambda: theirs(candidates, references))
    apart = max(
        float(np.max(np.abs(np.subtract([found[name][0], *found[name][1]], [score, *by_sample]))))
        for name, (score, by_sample) in expected.items()
    )
    if apart > 1e-9:
        raise SystemExit(f"the values differ by {apart:g}")
    print(
        f"{n_candidates:,} candidates, BLEU-1..4, METEOR, ROUGE-L, CIDEr: values apart by at most {apart:.1g}"
    )
    print(f"pycocoevalcap {their_seconds:.1f} s, ours {seconds:.1f} s: {their_seconds / seconds:.1f} x")


def compare_captioning(n_drawings: int) -> None:
    samples = [
        Sample(id=str(seed), svg=generate_scene(seed).svg, references=("-",)) for seed in range(n_drawings)
    ]
    with closing(Engine.load("embedded")) as engine:
        captioner = EngineCaptioner(engine)
        list(captioner.caption(samples[:4]))
        batched, seconds = timed(lambda: list(captioner.caption(samples)))
        single, their_seconds = timed(lambda: [next(captioner.caption([sample])) for sample in samples])
    same = sum(one == other for one, other in zip(batched, single, strict=True))
    print(f"{n_drawings} drawings: {same} captions are the same one by one and in batches")
    print(f"one by one {their_seconds:.1f} s, in batches {seconds:.1f} s: {their_seconds / seconds:.1f} x")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--candidates", type=int, default=5_000)
    parser.add_argument("--drawings", type=int, default=64)
    given = parser.parse_args()
    compare_scoring(given.candidates)
    compare_captioning(given.drawings)
