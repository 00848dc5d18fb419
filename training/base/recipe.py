"""What decides the weights of the embedded base model."""

from __future__ import annotations

from dataclasses import dataclass

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
    steps: int = 7_400
    batch_tokens: int = 5_120  # padding included
    # Step and learning rate, with straight lines between them: two rounds.
    learning_rates: tuple[tuple[int, float], ...] = (
        (0, 0.0), (150, 1.5e-3), (3_800, 1.5e-3), (6_000, 3e-5), (6_050, 8e-4), (7_400, 0.0),
    )  # fmt: skip
    word_noise: float = 0.15  # of the words of a caption that are read wrong, in the second round
    word_noise_from: int = 6_000  # step
    weight_decay: float = 0.05
    first_lengths: tuple[int, ...] = (44, 44, 44, 44, 88)  # most tokens of a prompt in the first epochs
    scene_share: float = 0.5  # of the drawings of an epoch
    rare_share: float = 0.3  # of the icons of what one family alone draws, in an epoch
    picture_weight: float = 1.0  # of the loss on the drawing's picture, beside that on the caption
    seed: int = 7
