"""Dropout: in training, every activation is zero with probability p, and the others are divided by 1 - p.

Srivastava et al. 2014 (JMLR 15), section 4. On a CPU one draw of 64 bits decides for four elements, which is faster
than torch's; so p is rounded to a multiple of 2⁻¹⁶ (0.1 becomes 0.100006).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 1 << 16


def dropout(x: Tensor, p: float) -> Tensor:
    dropped = round(p * STEPS)
    if dropped in (0, STEPS) or not x.is_cpu or torch.compiler.is_compiling():
        return F.dropout(x, p)
    draws = torch.empty(x.numel() // 4 + 1, dtype=torch.int64).random_(-(1 << 63), None)
    kept = draws.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - STEPS // 2
    return torch.where(kept, x * (STEPS / (STEPS - dropped)), 0)


class Dropout(nn.Dropout):
    """`dropout` as a module, in training only."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training else x
