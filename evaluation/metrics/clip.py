"""CLIP Score: how well a caption fits the picture of its drawing, by a model that learned both.

The score is published on two scales, so both are reported: 2.5 x max(cos, 0) with "A photo depicts"
before each caption (Hessel et al., 2021), and 100 x max(cos, 0) of the bare caption. Beside it: RefCLIPScore,
and whether the caption fits its own picture better than the split's other pictures.
"""

from __future__ import annotations

import hashlib
import re
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
_PREFIX = "A photo depicts "
_PUBLISHED = f"scale:2.5|prefix:{_PREFIX.strip()}"
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+")
_ROUNDING = 1e-9  # pictures that are alike differ by so little


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
    """CLIP's scores on one split: pictures and references are encoded once, for all captioners.

    An empty candidate scores 0 and finds nothing; a drawing without a picture is not scored.
    """

    def __init__(self, model: ClipModel, samples: Sequence[Sample], rasterizer: Rasterizer) -> None:
        self._model, self._samples, self._rasterizer = model, samples, rasterizer

    def measure(self, candidates: Sequence[str]) -> list[Measured]:
        """CLIP Score on both scales, over sentences, with references; margin and retrieval among pictures."""
        is_blank = np.array([not candidate.strip() for candidate in candidates])
        prefixed, bare = [_PREFIX + candidate for candidate in candidates], list(candidates)
        with_prefix, without = self._features(prefixed, is_blank), self._features(bare, is_blank)
        fit = self._fit(with_prefix)
        return [
            self._measured("clip_score", 2.5 * fit, _PUBLISHED, prefixed),
            self._measured("clip_score_100", 100 * self._fit(without), "scale:100|prefix:none", bare),
            self._measured("clip_score_sentences", 2.5 * self._fit_of_sentences(candidates), _PUBLISHED),
            self._measured("ref_clip_score", self._with_references(2.5 * fit, with_prefix), _PUBLISHED),
            *self._among_pictures(without),
        ]

    def _measured(self, name: str, scores: Floats, settings: str, texts: Sequence[str] = ()) -> Measured:
        signature = "|".join((name, settings, self._model.signature, picture_signature()))
        measured = mean_of(name, scores, signature)
        if not texts:
            return measured
        return replace(measured, details={"truncation_rate": float(self._model.truncated(texts).mean())})

    def _features(self, texts: Sequence[str], is_blank: Bools) -> Floats:
        """Shape (n_texts, d); a row of 0, alike to nothing, where a text is blank."""
        return np.where(is_blank[:, None], 0.0, self._model.text_features(texts))

    def _fit(self, texts: Floats) -> Floats:
        """max(cos, 0) of each text and its own picture, shape (n_samples,)."""
        cosines: Floats = (self._picture_features * texts).sum(axis=1)
        return cosines.clip(min=0.0)

    def _fit_of_sentences(self, candidates: Sequence[str]) -> Floats:
        """The mean over a candidate's sentences, so that none is cut off behind a long first one."""
        sentences = [_sentences(candidate) for candidate in candidates]
        counts = [len(found) for found in sentences]
        texts = [_PREFIX + text for found in sentences for text in found]
        is_blank = np.array([not text for found in sentences for text in found])
        pictures = np.repeat(self._picture_features, counts, axis=0)
        fits = (pictures * self._features(texts, is_blank)).sum(axis=1).clip(min=0.0)
        starts = np.cumsum([0, *counts[:-1]])
        return np.asarray(np.add.reduceat(fits, starts) / counts)

    def _with_references(self, scores: Floats, texts: Floats) -> Floats:
        """The harmonic mean with max(cos, 0) of the most alike reference (Hessel et al., 2021)."""
        alike = np.array(
            [
                max((references @ text).max(), 0.0)
                for references, text in zip(self._references, texts, strict=True)
            ]
        )
        total = scores + alike
        nothing = np.where(np.isnan(total), np.nan, 0.0)
        return np.asarray(np.divide(2 * scores * alike, total, out=nothing, where=total > 0))

    def _among_pictures(self, texts: Floats) -> list[Measured]:
        """How much better a caption fits its own picture than the others on average, and whether best of all.

        A tie with another picture is no find, so that a constant caption finds nothing.
        """
        drawn = ~np.isnan(self._picture_features[:, 0])
        pictures = self._picture_features[drawn]
        own = (self._picture_features * texts).sum(axis=1)
        margins, found = np.full_like(own, np.nan), np.full_like(own, np.nan)
        for start in range(0, len(texts), _BATCH_SIZE):
            rows = np.arange(start, min(start + _BATCH_SIZE, len(texts)))
            rows = rows[drawn[rows]]
            if not len(rows):
                continue
            cosines = texts[rows] @ pictures.T  # (rows, n_pictures)
            others = max(len(pictures) - 1, 1)
            margins[rows] = own[rows] - (cosines.sum(axis=1) - own[rows]) / others
            found[rows] = (cosines >= own[rows, None] - _ROUNDING).sum(axis=1) == 1
        settings = f"prefix:none|among:{len(pictures)}"
        return [
            self._measured("clip_margin", 100 * margins, f"scale:100|{settings}"),
            self._measured("clip_retrieval", found, f"first|{settings}"),
        ]

    @cached_property
    def _references(self) -> list[Floats]:
        """For each sample its references' features, shape (n_references, d)."""
        texts = [_PREFIX + text for sample in self._samples for text in sample.references]
        ends = np.cumsum([len(sample.references) for sample in self._samples])
        return np.split(self._model.text_features(texts), ends[:-1])

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


def _sentences(candidate: str) -> list[str]:
    return [text for text in _SENTENCE_END.split(candidate.strip()) if text] or [""]


def _as_floats(features: torch.Tensor) -> Floats:
    return features.double().cpu().numpy()
