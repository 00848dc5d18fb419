# mypy: ignore-errors
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision import transforms
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from .configuration_cogvlm import CogVLMConfig

LANGUAGE_TOKEN_TYPE = 0
VISION_TOKEN_TYPE = 1


class CogVLMForCausalLM(PreTrainedModel, GenerationMixin):
    """Each position sees the mean of those before it; patches stand where token types say vision."""

    config_class = CogVLMConfig

    def __init__(self, config: CogVLMConfig) -> None:
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.vision = nn.Conv2d(3, config.hidden_size, config.patch_size, config.patch_size)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Weights are loaded or set by hand."""

    def forward(
        self,
        input_ids: Tensor,
        images: list[list[Tensor]],
        token_type_ids: Tensor,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutput:
        states = self.words(input_ids)  # (1, positions, hidden)
        patches = self.vision(images[0][0].unsqueeze(0)).flatten(2).transpose(1, 2)
        states[token_type_ids == VISION_TOKEN_TYPE] = patches[0]
        counts = torch.arange(1, states.shape[1] + 1, device=states.device)[:, None]
        means = states.cumsum(1) / counts + self.words(input_ids)
        return CausalLMOutput(logits=self.lm_head(means.to(self.lm_head.weight.dtype)))

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, token_type_ids: Tensor, images: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        types = nn.functional.pad(token_type_ids, (0, input_ids.shape[1] - token_type_ids.shape[1]))
        return {"input_ids": input_ids, "token_type_ids": types, "images": images}

    def build_conversation_input_ids(
        self,
        tokenizer: Any,
        *,
        query: str,
        history: list[tuple[str, str]] | None = None,
        images: list[Any] | None = None,
        template_version: str | None = None,
    ) -> dict[str, Any]:
        assert images is not None
        assert len(images) == 1
        size = self.config.image_size
        transform = transforms.Compose(
            [
                transforms.Resize((size, size), interpolation=transforms.InterpolationMode.BICUBIC),
                transforms.ToTensor(),
                transforms.Normalize((0.48, 0.46, 0.41), (0.27, 0.26, 0.28)),
            ]
        )
        patches = (size // self.config.patch_size) ** 2
        text = tokenizer.encode(f"Question: {query} Answer:", add_special_tokens=False)
        ids = [tokenizer.bos_token_id, *[tokenizer.unk_token_id] * patches, *text]
        types = [LANGUAGE_TOKEN_TYPE, *[VISION_TOKEN_TYPE] * patches, *[LANGUAGE_TOKEN_TYPE] * len(text)]
        return {
            "input_ids": torch.tensor(ids),
            "token_type_ids": torch.tensor(types),
            "attention_mask": torch.ones(len(ids), dtype=torch.long),
            "images": [transform(images[0])],
        }
