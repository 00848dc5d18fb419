"""From a drawing to its caption: everything that training, serving and evaluation have in common.

    corpus         samples on disk
    prompt         canonical text -> token ids, and what a model learns to write after them
    pipeline       bytes -> drawing and prompt, the one way that all take
    base_models    which base models there are, and how one is loaded
    adapters       adapter folders and their manifests
    engine         a base model with its adapters, writing for many callers at once
    openai_engine  the same with the model in a server that speaks OpenAI's completions API
    bulk           any number of files through an engine; bulk_ray: through many

What the engine stands on, from the top:

    scheduler      its thread: who gets a row, and token after token for all rows
    slots, solo    the rows: keys and values side by side, or a cache for each
    lora_bank      adapters side by side, each row through its own
    text_stream    a text's pieces as they become certain

Only engine, scheduler and what is below them import torch.
"""
