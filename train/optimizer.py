"""AdamW with its parameter groups, Muon for pretraining, and the learning rate of each step.

AdamW: Loshchilov and Hutter 2019 (arXiv:1711.05101), algorithm 2. Warm-up and linear decay: Devlin et al. 2019
(arXiv:1810.04805), appendix A.2. Muon: Jordan 2024, "Muon: an optimizer for hidden layers in neural networks".
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .settings import Pretraining, Settings


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    factor: Callable[[str], float] = lambda name: 1.0,
    decay_all: bool = False,
) -> list[dict[str, Any]]:
    """Weight decay for matrices, none for vectors: biases and normalisations; with `decay_all` for them too.

    `factor` gives a multiple of the learning rate by a parameter's name; its group has it as "factor".
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decays = decay_all or parameter.ndim > 1
        groups.setdefault((weight_decay if decays else 0.0, factor(name)), []).append(parameter)
    return [{"params": group, "weight_decay": decay, "factor": times} for (decay, times), group in groups.items()]


def adamw(
    model: nn.Module,
    settings: Settings | Pretraining,
    factor: Callable[[str], float] = lambda name: 1.0,
    graphs: bool = False,
) -> torch.optim.AdamW:
    """AdamW in one fused kernel; its constants are β 0.9 and 0.999, ε 1e-8, unless the settings have others.

    With `graphs` a CUDA graph can replay its step: the learning rate of each group is a tensor on the GPU.
    """
    groups = parameter_groups(model, settings.weight_decay, factor, getattr(settings, "decay_all", False))
    if graphs:
        groups = [group | {"lr": torch.tensor(settings.lr, device=group["params"][0].device)} for group in groups]
    betas, eps = (0.9, getattr(settings, "beta2", 0.999)), getattr(settings, "epsilon", 1e-8)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=betas, eps=eps, fused=True, capturable=graphs)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all groups, each times its factor."""
    for group in optimizer.param_groups:
        own = rate * group.get("factor", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(own)  # a graph reads this very tensor
        else:
            group["lr"] = own


def clip_gradients(model: nn.Module, optimizer: torch.optim.Optimizer, max_norm: float, in_step: bool) -> Tensor:
    """Clip the norm of all gradients (Pascanu et al. 2013, arXiv:1211.5063); returns the norm before.

    With `in_step` the fused AdamW divides by `grad_scale` as it reads the gradients, which saves a pass over them; a
    GradScaler sets `grad_scale` too, so it must be off.
    """
    if not in_step:
        return torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if gradients and gradients[0].is_cpu:
        # Row by row, which torch shares out among the cores; a norm of the whole gradient runs on one.
        gradients = [torch.linalg.vector_norm(gradient, dim=-1).flatten() for gradient in gradients]
        norm = torch.linalg.vector_norm(torch.cat(gradients))
    else:
        norm = torch.nn.utils.get_total_norm(gradients)
    optimizer.grad_scale = (norm / max_norm).clamp(min=1)  # type: ignore[attr-defined]
    return norm


def muon_and_adamw(model: nn.Module, settings: Pretraining) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the hidden layers, AdamW for embeddings, biases and normalisations.

    Muon makes the step of a matrix orthogonal, scaled here to be as large as AdamW's (Liu et al. 2025,
    arXiv:2502.16982, section 2.2): one rate for both.
    """
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    hidden = [p for p in model.parameters() if p.ndim == 2 and id(p) not in embeddings]
    others = nn.ParameterList(p for p in model.parameters() if p.ndim != 2 or id(p) in embeddings)
    muon = torch.optim.Muon(hidden, lr=settings.lr, weight_decay=settings.weight_decay, adjust_lr_fn="match_rms_adamw")
    return [muon, adamw(others, settings)]


def learning_rate(step: int, steps: int, settings: Settings | Pretraining) -> float:
    """The rate of step 0, 1, …: a linear rise from 0 over the warm-up, then a linear fall to 0 at the end, or none."""
    warmup = settings.warmup_steps if settings.warmup_steps is not None else round(steps * settings.warmup_ratio)
    if step < warmup:
        return settings.lr * step / warmup
    if isinstance(settings, Settings) and settings.schedule == "constant":
        return settings.lr
    return settings.lr * max(0, steps - step) / max(1, steps - warmup)
