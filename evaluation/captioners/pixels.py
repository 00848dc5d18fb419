"""Published captioners that look at the rendered drawing, through their own processors.

Decoding is as their authors publish it, so that scores can be compared with others'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from PIL import Image
from transformers import (
    AutoTokenizer,
    BlipForConditionalGeneration,
    BlipProcessor,
    VisionEncoderDecoderModel,
    ViTImageProcessor,
)

from captioning.corpus import Sample
from captioning.prompt import clean_caption
from evaluation.candidates import Candidate
from evaluation.captioners.batches import describe_each
from evaluation.errors import Unavailable
from evaluation.models import model_folder
from evaluation.pictures import picture_of
from rendering import Rasterizer, SvgCaptionError

Describe = Callable[[Sequence[Image.Image]], list[str]]

_BLIP_FILES = ("*.json", "*.txt", "model.safetensors")
_VIT_GPT2_FILES = ("*.json", "*.txt", "model.safetensors", "pytorch_model.bin")  # published as .bin only


class PixelCaptioner:
    """Draws each sample and has the pictures described in batches."""

    def __init__(self, describe: Describe, rasterizer: Rasterizer, *, batch_size: int = 8) -> None:
        self._describe, self._rasterizer, self._batch_size = describe, rasterizer, batch_size

    def caption(self, samples: Sequence[Sample]) -> Iterator[Candidate]:
        for start in range(0, len(samples), self._batch_size):
            batch = samples[start : start + self._batch_size]
            pictures = [self._picture(sample) for sample in batch]
            drawn = [picture for picture in pictures if isinstance(picture, Image.Image)]
            captions = iter(describe_each(self._describe, drawn))
            for sample, picture in zip(batch, pictures, strict=True):
                outcome = picture if isinstance(picture, SvgCaptionError) else next(captions)
                yield Candidate.of(sample.id, outcome)

    def _picture(self, sample: Sample) -> Image.Image | SvgCaptionError:
        try:
            return picture_of(sample, self._rasterizer)
        except SvgCaptionError as error:
            return error


def load_blip(source: str, *, device: str = "cpu") -> Describe:
    """BLIP (Li et al., 2022) without a text prompt; beams and lengths of its authors' COCO evaluation.

    Raises:
        Unavailable: no such weights, or another kind of model.
    """
    folder = model_folder(source, _BLIP_FILES)
    try:
        processor = BlipProcessor.from_pretrained(folder)
        model = BlipForConditionalGeneration.from_pretrained(folder, device_map={"": device}).eval()
    except (OSError, RuntimeError, ValueError) as error:
        raise Unavailable(f"'{source}' holds no BLIP captioner: {error}") from None

    @torch.inference_mode()
    def describe(pictures: Sequence[Image.Image]) -> list[str]:
        inputs = processor(images=list(pictures), return_tensors="pt").to(device)
        tokens = model.generate(**inputs, num_beams=3, min_length=5, max_length=20)
        return _texts(processor.batch_decode(tokens, skip_special_tokens=True))

    return describe


def load_vit_gpt2(source: str, *, device: str = "cpu") -> Describe:
    """A ViT encoder with a GPT-2 decoder; beams and length as its model card has them.

    Raises:
        Unavailable: no such weights, or another kind of model.
    """
    folder = model_folder(source, _VIT_GPT2_FILES)
    try:
        processor = ViTImageProcessor.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = VisionEncoderDecoderModel.from_pretrained(folder, device_map={"": device}).eval()
    except (OSError, RuntimeError, ValueError) as error:
        raise Unavailable(f"'{source}' holds no ViT-GPT2 captioner: {error}") from None

    @torch.inference_mode()
    def describe(pictures: Sequence[Image.Image]) -> list[str]:
        inputs = processor(images=list(pictures), return_tensors="pt").to(device)
        tokens = model.generate(**inputs, num_beams=4, max_length=16)
        return _texts(tokenizer.batch_decode(tokens, skip_special_tokens=True))

    return describe


def _texts(decoded: Sequence[str]) -> list[str]:
    return [clean_caption(text) for text in decoded]
