"""Linear layers in 8-bit integers, for classification on a CPU: a quarter of the memory, and faster.

Row r of a weight becomes round(w / s_r), from -128 to 127, with a scale s_r of its own; inputs are rounded likewise,
with one scale and one zero for each batch ("dynamic"). Jacob et al. 2018 (arXiv:1712.05877), section 2.
"""

import warnings

import torch
from torch import Tensor, nn


class Int8Linear(nn.Module):
    """A linear layer with rounded weights: fp32 (…, in) → fp32 (…, out)."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        scales = weight.abs().amax(dim=1).clamp(min=1e-12) / 127
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch means to move this into another package one day
            rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        engine = torch.backends.quantized.engine
        if torch.cpu._is_amx_tile_supported():  # which torch's usual engine leaves unused
            torch.backends.quantized.engine = "onednn"
        try:
            self.packed = torch.ops.quantized.linear_prepack(rounded, linear.bias.detach())
        finally:
            torch.backends.quantized.engine = engine

    def forward(self, x: Tensor) -> Tensor:
        # Sums of two products of 8 bits overflow the 16 bits of older CPUs: there the inputs have 7.
        return torch.ops.quantized.linear_dynamic(x, self.packed, reduce_range=not torch.cpu._is_vnni_supported())


def to_int8(model: nn.Module) -> None:
    """Round a model's linear layers, in place, for prediction only; ValueError where it is not on a CPU."""
    if any(not parameter.is_cpu for parameter in model.parameters()):
        raise ValueError("int8 is for the CPU: choose the device cpu, or another precision")
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child))
