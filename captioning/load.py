"""What an engine is doing and has done, in numbers for metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Load:
    """Counted since the engine was made, but for the first four."""

    waiting: int = 0  # requests without a row, now
    rows: int = 0  # texts that are being written now
    max_rows: int = 0
    adapter_bytes: int = 0  # of memory that adapters take now
    started: int = 0  # requests that have got a row
    finished: int = 0
    failed: int = 0
    prompt_tokens: int = 0  # that the model has read
    prefix_tokens: int = 0  # of prompts, at hand and not read again
    new_tokens: int = 0
    steps: int = 0  # passes that wrote a token to each row
    step_rows: int = 0  # rows of all steps; by `steps` it is the mean batch
    adapter_loads: int = 0
    adapter_evictions: int = 0  # adapters that made room for others
    queue_s: float = 0.0  # waits for a row, of all started requests together
    first_token_s: float = 0.0  # from submission to first token, of the same
