"""A floor that reads the drawing but understands nothing: the caption of the most alike training drawing.

Alike is the cosine of TF-IDF over runs of one to three tokens of the canonical text: names of elements and
attributes, path commands, coordinates and colours in coarse steps. What beats it does more than recall.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from captioning.corpus import Sample
from captioning.pipeline import as_bytes
from evaluation.candidates import Candidate
from evaluation.errors import Unavailable
from rendering import SvgRejected, canonicalize, load

_TOKEN = re.compile(r"</?[A-Za-z]+|[A-Za-z-]+=|#[0-9a-f]+|[a-z-]{2,}|[A-Za-z]|-?\d*\.?\d+")
_STEP = 50  # of the 1,000 units of a canonical drawing's longer side


class NearestCaptioner:
    """For each drawing the first reference of the nearest training drawing, the earlier one of equals.

    Training drawings that are in the split as well, by id or by canonical text, are left out.

    Raises:
        Unavailable: no training drawing is left.
    """

    def __init__(self, training: Iterable[Sample], split: Sequence[Sample]) -> None:
        ids = {sample.id for sample in split}
        drawings = {_canonical(sample) for sample in split}
        texts: list[str] = []
        self._captions: list[str] = []
        for sample in training:
            text = _canonical(sample)
            if isinstance(text, str) and sample.id not in ids and text not in drawings:
                texts.append(text)
                self._captions.append(sample.references[0])
        if not texts:
            raise Unavailable("no drawing of the training corpus can be read and is not in the split itself")
        self._vectorizer = TfidfVectorizer(
            tokenizer=svg_tokens,
            token_pattern=None,
            lowercase=False,
            ngram_range=(1, 3),
            sublinear_tf=True,
            dtype=np.float32,
        )
        self._vectors = self._vectorizer.fit_transform(texts)  # (n_drawings, n_terms), rows of length 1

    def caption(self, samples: Sequence[Sample]) -> Iterator[Candidate]:
        for sample in samples:
            text = _canonical(sample)
            yield Candidate.of(sample.id, self._nearest(text) if isinstance(text, str) else text)

    def _nearest(self, text: str) -> str:
        query = self._vectorizer.transform([text]).toarray()[0]
        return self._captions[int(np.argmax(self._vectors @ query))]


def svg_tokens(canonical: str) -> list[str]:
    """`<circle`, `cx=`, `10` (of 20 steps across the drawing), `#f80` (a digit for each channel)."""
    return [_coarse(token) for token in _TOKEN.findall(canonical)]


def _coarse(token: str) -> str:
    if token.startswith("#"):
        digits = token[1:]
        return f"#{digits[::2] if len(digits) >= 6 else digits}"
    if token[-1].isdigit():
        return str(round(float(token) / _STEP))
    return token


def _canonical(sample: Sample) -> str | SvgRejected:
    try:
        return canonicalize(load(as_bytes(sample.svg)))
    except SvgRejected as error:
        return error
