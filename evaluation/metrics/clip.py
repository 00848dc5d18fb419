"""CLIP Score: how well a caption fits the picture of its drawing, by a model that learned both.

The score is published on two scales, so both are reported: 2.5 x max(cos, 0) with "A photo depicts"
before each caption (Hessel et al., 2021), and 100 x max(cos, 0) of the bare caption.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
import open_clip
import torch
from PIL import Image

from captioning.corpus import Sample
from evaluation.errors import Unavailable
from evaluation.metrics.statistics import Bools, Floats, Measured, mean_of
from evaluation.models import model_folder
from evaluation.pictures import picture_of, picture_signature
from rendering import Rasterizer, SvgCaptionError

EMBEDDED = "embedded"
"""Stands for the model that ships with the repository: small, of our own making, comparable with no other."""

_EMBEDDED_FOLDER = Path(__file__).parents[1] / "embedded_clip"
_EMBEDDED_NAME = "embedded-clip"
_FILES = ("*.json", "*.txt", "open_clip_model.safetensors")
_BATCH_SIZE = 32
_SCALES = (("clip_score", 2.5, "A photo depicts "), ("clip_score_100", 100.0, ""))


class ClipModel:
    """An open_clip model with its own picture transform and tokenizer. Features have length 1."""

    def __init__(
        self,
        model: Any,
        transform: Callable[[Image.Image], torch.Tensor],
        tokenizer: Any,
        *,
        name: str,
        device: str = "cpu",
    ) -> None:
        self._model, self._transform, self._tokenizer = model.to(device).eval(), transform, tokenizer
        self._name, self._device = name, device

    @classmethod
    def load(cls, source: str, *, device: str = "cpu") -> Self:
        """A model in open_clip's folder format: a local folder, a hub id, or `embedded` for the shipped one.

        Raises:
            Unavailable: no such weights; random ones are never used in their place.
        """
        is_embedded = source == EMBEDDED
        path = _EMBEDDED_FOLDER if is_embedded else model_folder(source, _FILES)
        folder = f"local-dir:{path}"
        try:
            model, transform = open_clip.create_model_from_pretrained(folder)
            tokenizer = open_clip.get_tokenizer(folder)
        except (OSError, RuntimeError, ValueError) as error:
            raise Unavailable(f"'{source}' holds no CLIP model that open_clip can load: {error}") from None
        name = _EMBEDDED_NAME if is_embedded else Path(source).name
        return cls(model, transform, tokenizer, name=name, device=device)

    @cached_property
    def signature(self) -> str:
        """The model's name, and the first digits of a hash of its weights."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
        return f"model:{self._name},weights:{digest.hexdigest()[:12]}|open_clip:{version('open_clip_torch')}"

    @torch.inference_mode()
    def picture_features(self, pictures: Sequence[Image.Image]) -> Floats:
        """Shape (n_pictures, d)."""
        pixels = torch.stack([self._transform(picture) for picture in pictures])
        return _as_floats(self._model.encode_image(pixels.to(self._device), normalize=True))

    @torch.inference_mode()
    def text_features(self, texts: Sequence[str]) -> Floats:
        """Shape (n_texts, d). A text over the model's length is cut, its end token kept."""
        batches = [texts[start : start + _BATCH_SIZE] for start in range(0, len(texts), _BATCH_SIZE)]
        tokens = [self._tokenizer(list(batch)).to(self._device) for batch in batches]
        return np.concatenate(
            [_as_floats(self._model.encode_text(batch, normalize=True)) for batch in tokens]
        )

    def truncated(self, texts: Sequence[str]) -> Bools:
        """Which texts are cut: those with another last token where the model has one token more to give."""
        length: int = self._tokenizer.context_length
        cut = self._tokenizer(list(texts), context_length=length)
        longer = self._tokenizer(list(texts), context_length=length + 1)
        return np.asarray((cut != longer[:, :length]).any(dim=1))


class ClipScorer:
    """CLIP Score on one split: pictures are drawn and encoded once, for all captioners."""

    def __init__(self, model: ClipModel, samples: Sequence[Sample], rasterizer: Rasterizer) -> None:
        self._model, self._samples, self._rasterizer = model, samples, rasterizer

    def measure(self, candidates: Sequence[str]) -> list[Measured]:
        """Both scales. An empty candidate scores 0; a drawing without a picture is not scored."""
        return [self._measure(candidates, name, scale, prefix) for name, scale, prefix in _SCALES]

    def _measure(self, candidates: Sequence[str], name: str, scale: float, prefix: str) -> Measured:
        texts = [prefix + candidate for candidate in candidates]
        cosines = (self._picture_features * self._model.text_features(texts)).sum(axis=1)
        is_empty = np.array([not candidate.strip() for candidate in candidates])
        cosines[is_empty & ~np.isnan(cosines)] = 0.0
        signature = "|".join(
            (
                name,
                f"scale:{scale:g}",
                f"prefix:{prefix.strip() or 'none'}",
                self._model.signature,
                picture_signature(),
            )
        )
        truncation_rate = float(self._model.truncated(texts).mean())
        scores = scale * cosines.clip(min=0.0)
        return replace(mean_of(name, scores, signature), details={"truncation_rate": truncation_rate})

    @cached_property
    def _picture_features(self) -> Floats:
        """Shape (n_samples, d); a row of NaN where there is no picture."""
        rows: list[Floats | None] = []
        for start in range(0, len(self._samples), _BATCH_SIZE):
            pictures = [self._picture(sample) for sample in self._samples[start : start + _BATCH_SIZE]]
            drawn = [picture for picture in pictures if picture is not None]
            features = iter(self._model.picture_features(drawn) if drawn else ())
            rows += [None if picture is None else next(features) for picture in pictures]
        blank = np.full_like(next((row for row in rows if row is not None), np.zeros(1)), np.nan)
        return np.stack([blank if row is None else row for row in rows])

    def _picture(self, sample: Sample) -> Image.Image | None:
        try:
            return picture_of(sample, self._rasterizer)
        except SvgCaptionError:
            return None


def _as_floats(features: torch.Tensor) -> Floats:
    return features.double().cpu().numpy()
