"""Linear layers in 8-bit integers, for classification on a CPU: a quarter of the memory, and faster.

Row r of a weight becomes round(w / s_r), from -127 to 127, with a scale s_r of its own; inputs are rounded likewise,
each token's vector with a scale of its own ("dynamic, per token"), so that no layer's answer to a text depends on its
batch. Attention's depends on it in the last bits of fp32, as without int8, and a number at the edge between two steps
may then be rounded the other way: COSTS. Jacob et al. 2018 (arXiv:1712.05877), section 2; Yao et al. 2022
(arXiv:2206.01861), section 4.1, for a scale per token.

Letters: T tokens, I numbers in, O numbers out.
"""

import warnings

import torch
from torch import Tensor, nn

# Measured on 3,000 texts of JRTE in three orders and batches of 16 and 64: no label changed. docs/benchmarks.md has the
# labels that differ from fp32. Of answers that are no classes nothing was measured.
COSTS = "in int8 about 5 labels of 1,000 differ from fp32's; a probability may change by 0.01 with the texts beside it"
COSTS_OF_OTHERS = "in int8 answers differ a little from fp32's, and may change a little with the texts beside them"


def costs(precision: str, classes: bool) -> list[str]:
    """A sentence on what answers in int8 lose, of classes or of others; none of another precision."""
    return [COSTS if classes else COSTS_OF_OTHERS] if precision == "int8" else []


class Int8Linear(nn.Module):
    """A linear layer with rounded weights: fp32 (…, I) → fp32 (…, O). It has no gradients."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self.bias = weight.new_zeros(len(weight)) if linear.bias is None else linear.bias.detach()
        scales = weight.abs().amax(dim=1).clamp(min=1e-12) / 127
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch means to move this into another package one day
            rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        engine = torch.backends.quantized.engine
        if torch.cpu._is_amx_tile_supported():  # which torch's usual engine leaves unused
            torch.backends.quantized.engine = "onednn"
        try:
            self.packed = torch.ops.quantized.linear_prepack(rounded, None)
        finally:
            torch.backends.quantized.engine = engine

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        # torch has one scale for all that it is given. Vectors divided by their largest numbers have it in common, and
        # one more, from -128 to 127 steps, makes it the same in each batch: 1 / 127.
        *shape, width = x.shape
        x = x.reshape(-1, width)  # (…, I) -> (T, I)
        largest = x.abs().amax(dim=1, keepdim=True).clamp(min=1e-12)  # (T, 1)
        scaled = x.new_zeros(len(x) + 1, width)
        torch.div(x, largest, out=scaled[:-1])
        scaled[-1, 0], scaled[-1, -1] = -128 / 127, 1
        # Sums of two products of 8 bits overflow the 16 bits of older CPUs: there the inputs have 7.
        reduce = not torch.cpu._is_vnni_supported()
        y = torch.ops.quantized.linear_dynamic(scaled, self.packed, reduce_range=reduce)[:-1]  # (T, O)
        return torch.addcmul(self.bias, y, largest).reshape(*shape, y.shape[1])


def to_int8(model: nn.Module) -> None:
    """Round a model's linear layers, in place, for prediction only; ValueError where it is not on a CPU.

    A layer that makes something else of its product stays as it is.
    """
    if any(not parameter.is_cpu for parameter in model.parameters()):
        raise ValueError("int8 is for the CPU: choose the device cpu, or another precision")
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear) and type(child).forward is nn.Linear.forward:
                setattr(module, name, Int8Linear(child))
