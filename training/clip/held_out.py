"""What the embedded CLIP makes of drawings that it never saw: the held-out family, and unseen scenes.

Drawings, captions and false captions are drawn by seed, one drawing for each concept: the false
caption of a drawing is the caption of another concept, and for retrieval nothing is there twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch

from captioning.matching import Floats, preference, recall
from rendering import canonicalize, load
from training.base.corpus import Pair
from training.clip.corpus import Pictures, draw
from training.clip.model import as_input
from training.corpora.build import scene_seeds
from training.corpora.icon_packages import HELD_OUT_FAMILY, TRAINING_FAMILIES
from training.corpora.icons import concept, is_held_out_concept, read_icons
from training.corpora.scenes import generate_scene, is_held_out

_SCENES_SEED = 30  # of a corpus build: far from the scenes of training and of the shipped suite
_BATCH_SIZE = 256
_NEW_SCENE = "scene of a held-out combination"


@dataclass(frozen=True)
class Matching:
    """How well true captions and drawings find one another among so many of each."""

    drawings: int
    true_over_false: float  # share of drawings whose caption is preferred to another concept's
    text_to_image_at_1: float
    text_to_image_at_10: float
    image_to_text_at_1: float
    image_to_text_at_10: float


def evaluate(folder: Path, cache_dir: Path, work: Path, *, drawings: int, seed: int) -> dict[str, Matching]:
    """By group: `drawings` icons and as many scenes, apart and together; pictures are kept in `work`."""
    model = open_clip.create_model_from_pretrained(f"local-dir:{folder}", return_transform=False).eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    rng = random.Random(seed)
    pairs = [*islice(_icons(cache_dir, rng), drawings), *islice(_scenes(seed), drawings)]
    pictures = draw(pairs, work, size_px=_side(model.visual.image_size), processes=1)
    captions = [rng.choice(pair.references) for pair in pictures.pairs]
    likeness = _likeness(model, tokenizer, pictures, captions)
    groups = _groups(pictures.pairs, _learned_concepts(cache_dir))
    return {
        name: matching(
            likeness[np.ix_(group, group)],
            [pictures.pairs[index] for index in group],
            [captions[index] for index in group],
            random.Random(seed),
        )
        for name, group in groups.items()
        if len(group) > 1
    }


def _side(size: int | tuple[int, int]) -> int:
    """Of the square pictures of a model: open_clip's towers give it in either form."""
    return size if isinstance(size, int) else size[0]


def matching(
    likeness: Floats, pairs: Sequence[Pair], captions: Sequence[str], rng: random.Random
) -> Matching:
    """Of the cosines of captions (rows) and pictures (columns); no two drawings show the same."""
    n = len(pairs)
    right = np.array([[caption in pair.references for pair in pairs] for caption in captions])
    false = [rng.choice([other for other in range(n) if not right[other, index]]) for index in range(n)]
    at = np.arange(n)
    return Matching(
        drawings=n,
        true_over_false=preference(likeness[at, at], likeness[false, at]),
        text_to_image_at_1=recall(likeness, right, 1),
        text_to_image_at_10=recall(likeness, right, 10),
        image_to_text_at_1=recall(likeness.T, right.T, 1),
        image_to_text_at_10=recall(likeness.T, right.T, 10),
    )


def _icons(cache_dir: Path, rng: random.Random) -> Iterator[Pair]:
    """Icons of the held-out family, each of another concept."""
    icons = list(read_icons(HELD_OUT_FAMILY, cache_dir))
    rng.shuffle(icons)
    for icon in {concept(icon): icon for icon in icons}.values():
        yield Pair(canonicalize(load(icon.svg.encode())), icon.references, HELD_OUT_FAMILY, concept(icon))


def _scenes(seed: int) -> Iterator[Pair]:
    """Scenes of seeds that no corpus uses, each of another truth, without end."""
    seen: set[str] = set()
    for scene_seed in scene_seeds(_SCENES_SEED + seed):
        scene = generate_scene(scene_seed)
        if seen.isdisjoint(scene.references):
            seen.update(scene.references)
            source = _NEW_SCENE if is_held_out(scene.truth) else "scene"
            yield Pair(canonicalize(load(scene.svg.encode())), scene.references, source)


def _likeness(model: Any, tokenizer: Any, pictures: Pictures, captions: Sequence[str]) -> Floats:
    """Cosines, shape (captions, pictures)."""
    with torch.inference_mode():
        pixels = torch.from_numpy(pictures.pixels)
        images = [model.encode_image(as_input(part), normalize=True) for part in pixels.split(_BATCH_SIZE)]
        tokens = tokenizer(list(captions))
        texts = [model.encode_text(part, normalize=True) for part in tokens.split(_BATCH_SIZE)]
        return (torch.cat(texts) @ torch.cat(images).T).double().numpy()


def _learned_concepts(cache_dir: Path) -> set[str]:
    """What the training families draw, without what is kept out of them."""
    samples = (sample for family in TRAINING_FAMILIES for sample in read_icons(family, cache_dir))
    return {name for name in map(concept, samples) if not is_held_out_concept(name)}


def _groups(pairs: Sequence[Pair], learned: set[str]) -> dict[str, list[int]]:
    """Positions of the drawings of each group; one of a new combination is a scene all the same."""
    scenes = [index for index, pair in enumerate(pairs) if not pair.concept]
    icons = [index for index, pair in enumerate(pairs) if pair.concept]
    return {
        "together": icons + scenes,
        "icons": icons,
        "icons_of_learned_concepts": [index for index in icons if pairs[index].concept in learned],
        "icons_of_other_concepts": [index for index in icons if pairs[index].concept not in learned],
        "scenes": scenes,
        "scenes_of_new_combinations": [index for index in scenes if pairs[index].source == _NEW_SCENE],
    }
