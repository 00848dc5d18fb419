"""A plan as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence

from training.plan import Plan


def table(planned: Plan) -> str:
    """The plan for a person."""
    sections = (_parameters(planned), _memory(planned), _verdict(planned), _corpus_lines(planned))
    return "\n\n".join([planned.model, *("\n".join(section) for section in sections)])


def _parameters(planned: Plan) -> list[str]:
    rows = [
        ("trained", "layers", "shape", "parameters"),
        *(
            (
                module.name,
                str(module.layers),
                " x ".join(map(str, module.shape)),
                f"{module.trainable_parameters:,}",
            )
            for module in planned.modules
        ),
        ("in all", "", f"{planned.trainable_share:.4%}", f"{planned.trainable_parameters:,}"),
        ("base model", "", "", f"{planned.total_parameters:,}"),
        ("of it quantized", "", "", f"{planned.quantized_parameters:,}"),
    ]
    return _aligned(rows)


def _memory(planned: Plan) -> list[str]:
    by_choice = (planned.with_checkpointing_gib, planned.without_checkpointing_gib)
    marks = ("*", "") if planned.activation_checkpointing else ("", "*")
    heads = (f"checkpointing{marks[0]}", f"without{marks[1]}")
    rows = [
        ("GiB per worker (* as in the recipe)", *heads),
        *(
            (part.replace("_", " "), *(f"{parts[part]:.2f}" for parts in by_choice))
            for part in planned.memory_gib
        ),
    ]
    note = f"for batches of the longest samples: {planned.lengths.training:,} tokens"
    return [*_aligned(rows), note]


def _verdict(planned: Plan) -> list[str]:
    lines = []
    if gpu := planned.gpu:
        total = f"{planned.memory_gib['total']:.1f} of {gpu.memory_gib:.1f} GiB ({gpu.source})"
        if gpu.fits:
            lines.append(
                f"fits: {total}, {gpu.margin_gib:.1f} GiB to spare on each of {planned.workers} GPU(s)"
            )
        else:
            change = (
                " ".join(gpu.changes) if gpu.changes else "a larger GPU; no change of the recipe is enough"
            )
            lines.append(f"does not fit: {total}. What would: {change}")
    return lines + planned.advice


def _corpus_lines(planned: Plan) -> list[str]:
    step = f"{planned.samples_per_step} samples per step on {planned.workers} worker(s)"
    if (corpus := planned.corpus) is None:
        return [step, f"no figures of the corpus: {planned.corpus_missing}"]
    dropped = ", ".join(f"{count:,} x {reason}" for reason, count in corpus.dropped.items()) or "none"
    return [
        f"{step}, {corpus.steps_per_epoch:,} steps per epoch, {corpus.total_steps:,} in all",
        f"{corpus.samples:,} samples, {corpus.validation_samples:,} for validation; dropped: {dropped}",
        f"{corpus.tokens_per_epoch:,} tokens per epoch, {corpus.label_tokens_per_epoch:,} with loss; "
        f"{corpus.padding_share:.1%} of what is computed is padding",
    ]


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    ]
