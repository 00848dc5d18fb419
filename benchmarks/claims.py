"""How well `faithfulness` tells a true caption from a false one, on generated scenes.

    PYTHONPATH=. python benchmarks/claims.py --scenes 1200

A scene's first reference must score higher than the same with one attribute made false, and no claim of
any reference may be called false. Things (houses, fish) are counted apart: their parts have no names.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter

from faithfulness import check, read_facts
from rendering import load
from tests.faithfulness.falsify import falsified
from training.corpora.scenes import generate_scene

SHAPE_KINDS = ("single", "pair", "several", "counted", "two groups", "text")
FIRST_SEED = 70_000


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--scenes", type=int, default=1200)
    n_scenes = options.parse_args().scenes
    rng = random.Random(0)
    above, pairs, verdicts = Counter[str](), Counter[str](), Counter[str]()
    for seed in range(FIRST_SEED, FIRST_SEED + n_scenes):
        scene = generate_scene(seed)
        facts = read_facts(load(scene.svg.encode()))
        for reference in scene.references:
            verdicts.update(one.verdict for one in check(reference, facts).claims)
        caption = scene.references[0]
        true = check(caption, facts).score
        for attribute, wrong in falsified(scene, caption, rng):
            group = "shapes and words" if scene.truth.kind in SHAPE_KINDS else "things"
            if attribute == "colours swapped" and group == "things":
                group = "things, colours swapped"
            pairs[group] += 1
            above[group] += true > check(wrong, facts).score
    print(f"{n_scenes} scenes, {pairs.total()} pairs: {above.total() / pairs.total():.1%} ranked right")
    for group, n_pairs in pairs.most_common():
        print(f"  {group}: {above[group]} of {n_pairs}")
    claims = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    print(f"{verdicts.total()} claims of true captions: {claims}")


if __name__ == "__main__":
    main()
