"""AdamW with its parameter groups, and the learning rate of each step.

AdamW: Loshchilov and Hutter 2019 (arXiv:1711.05101), algorithm 2. Warm-up and linear decay: Devlin et al. 2019
(arXiv:1810.04805), appendix A.2.
"""

from typing import Any

import torch
from torch import nn

from .settings import Pretraining, Settings


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: weight decay for matrices, none for biases and normalisations.

    The kind of a parameter is read off its shape: every bias and every weight of a LayerNorm is a vector.

    Raises:
        AssertionError: a parameter would be in no group, or in two.
    """
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    members = sorted(map(id, matrices + vectors))
    assert members == sorted(map(id, model.parameters())), "every parameter belongs in exactly one group"
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def adamw(model: nn.Module, settings: Settings | Pretraining) -> torch.optim.AdamW:
    """AdamW in one fused kernel, with its usual constants (β 0.9 and 0.999, ε 1e-8)."""
    return torch.optim.AdamW(parameter_groups(model, settings.weight_decay), lr=settings.lr, fused=True)


def learning_rate(step: int, steps: int, settings: Settings | Pretraining) -> float:
    """The rate of step 0, 1, …: a straight rise from 0 over the warm-up, then a straight fall to 0 at the end."""
    warmup = settings.warmup_steps if settings.warmup_steps is not None else round(steps * settings.warmup_ratio)
    if step < warmup:
        return settings.lr * step / warmup
    return settings.lr * max(0, steps - step) / max(1, steps - warmup)
