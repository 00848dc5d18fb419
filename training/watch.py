"""What may be wrong with a run, in words: looked at before each optimizer step, by every worker alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

STUCK_STEPS = 10

NON_FINITE_CAUSES = (
    "Likely causes: a learning rate that is too high; float16 somewhere (use precision=bf16); an attention "
    "kernel that does not fit the model (Gemma 2 needs eager); damaged base weights or failing hardware."
)


def diagnose(loss: float, grad_norm: float, without_gradient: Sequence[str] = ()) -> str | None:
    """What is wrong with a step, or None. Called before the optimizer may spoil the weights."""
    seen = f"the training loss is {loss} and the gradient norm {grad_norm}."
    if not (math.isfinite(loss) and math.isfinite(grad_norm)):
        return f"{seen} {NON_FINITE_CAUSES}"
    if without_gradient:
        return (
            f"{len(without_gradient)} trainable weights are not part of the computation, the first is "
            f"'{without_gradient[0]}': check lora.target_modules and lora.modules_to_save."
        )
    if loss == 0.0:
        return f"{seen} Likely causes: every label is masked, or the base model's weights are all zero."
    if grad_norm == 0.0:
        return (
            f"{seen} No adapter weight receives a gradient: check lora.target_modules, and whether the base "
            "model says the same to any prompt (damaged weights)."
        )
    return None


def stuck(steps: int) -> str:
    """Of a run whose first samples have the same loss as before training, to the last bit."""
    return (
        f"{steps} steps have not changed what the model says. Likely causes: a learning rate that is too low "
        "to change a weight, or a frozen adapter."
    )


def learned_nothing(first_loss: float, last_loss: float, steps: int) -> str:
    """Of a run whose best adapter is the untrained one."""
    return (
        f"in {steps} steps the validation loss never fell below the {first_loss:.4f} from before training "
        f"(at last {last_loss:.4f}): there is no adapter worth keeping. Likely causes: a learning rate that "
        "is too low or too high, references that do not fit their drawings, or a base model that knows the "
        "validation split already."
    )
