"""From a drawing to its caption: everything that training, serving and evaluation have in common.

    corpus        samples on disk
    prompt        canonical text -> token ids, and what a model learns to write after them
    pipeline      bytes -> drawing and prompt, the one way that all take
    base_models   which base models there are, and how one is loaded
    adapters      adapter folders and their manifests
    engine        a base model with its adapters, writing captions in batches

Only the engine and what it stands on (`adapter_bank`, `decoding`) import torch.
"""
