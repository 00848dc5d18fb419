"""What decides the weights of the embedded base model."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from captioning.errors import ConfigError
from training.corpora.icon_packages import TRAINING_FAMILIES


@dataclass(frozen=True)
class BaseRecipe:
    """Everything that decides the weights."""

    scenes: int = 70_000  # seeds of generated scenes, held-out combinations included (they are dropped)
    families: tuple[str, ...] = TRAINING_FAMILIES
    max_chars: int = 1_400  # characters of canonical text
    max_prompt_tokens: int = 448
    vocab_size: int = 5376
    hidden_size: int = 256
    layers: int = 6
    heads: int = 4
    feed_forward: int = 704
    steps: int = 10_000
    batch_tokens: int = 5_120  # padding included
    learning_rate: float = 1.5e-3
    warmup_steps: int = 150
    decay_steps: tuple[int, int] = (6_500, 10_100)  # from where to where the rate falls to zero
    weight_decay: float = 0.05
    first_lengths: tuple[int, ...] = (44, 44, 44, 44, 88)  # most tokens of a prompt in the first epochs
    scene_share: float = 0.4  # of the drawings of an epoch
    rare_share: float = 0.3  # of the icons of what one family alone draws, in an epoch
    first_share: float = 0.6  # chance to take the first reference outright; else any by lot, the first too
    picture_weight: float = 1.0  # of the loss on the drawing's picture, beside that on the caption
    seed: int = 7

    def __post_init__(self) -> None:
        if self.steps > self.decay_steps[1]:
            raise ConfigError(
                f"decay_steps: the learning rate is zero from step {self.decay_steps[1]:,} on, and steps is "
                f"{self.steps:,}. Raise decay_steps to {self.steps:,} or more, or lower steps"
            )

    def lasting(self, steps: int) -> BaseRecipe:
        """The same recipe in another number of steps: the rate falls over the same share of them."""
        start, end = self.decay_steps
        decay_steps = (start * steps // self.steps, round(end * steps / self.steps))
        return replace(self, steps=steps, decay_steps=decay_steps)


def refuse_other(
    saved: Mapping[str, Any], recipe: Mapping[str, Any], path: Path, *, free: Collection[str] = ()
) -> None:
    """Refuses to go on with what was begun with another recipe.

    Args:
        saved: the recipe that it was begun with, as JSON has it.
        recipe: the one that is asked for, by setting.
        path: where that is written, for the message.
        free: settings that may be others.

    Raises:
        ConfigError: names every setting that is another, with both values.
    """
    wanted = json.loads(json.dumps(recipe))
    changed = [
        f"{name}: {json.dumps(saved.get(name))} there, {json.dumps(wanted.get(name))} asked for"
        for name in dict.fromkeys([*wanted, *saved])
        if name not in free and (name not in saved or name not in wanted or saved[name] != wanted[name])
    ]
    if changed:
        raise ConfigError(
            f"{path} is of a run with other settings ({'; '.join(changed)}). "
            "Ask for those, or choose another --work folder"
        )
