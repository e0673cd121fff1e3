"""A checkpoint of a byte a weight, for what is on board: matrices as int8 with a scale a row, the rest as it is.

It is read into fp32, and saved plain, as any model is after training.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

FILE = "model.int8.safetensors"
SCALE = ".scale"  # after the name of the matrix that it belongs to
LARGEST = 127


def write_compact(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Matrices (R, C) become whole numbers (R, C) from -127 to 127 and a scale (R,); an error is at most scale / 2."""
    packed = {}
    for name, tensor in tensors.items():
        packed[name] = tensor.contiguous()
        if tensor.dim() == 2:
            scale = tensor.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / LARGEST
            packed[name] = (tensor / scale[:, None]).round().to(torch.int8)
            packed[name + SCALE] = scale
    save_file(packed, path, metadata={"format": "pt"})


def read_compact(path: Path) -> dict[str, Tensor]:
    """What `write_compact` wrote, in fp32, but for what rounding took away; ValueError for a file of another form."""
    packed = load_file(path)
    for name, tensor in packed.items():
        if tensor.dtype == torch.int8 and packed.get(name + SCALE, tensor).shape != tensor.shape[:1]:
            raise ValueError(f"its tensor {name} has no scale a row, as it has in the files of this package")
    return {
        name: tensor * packed[name + SCALE][:, None] if name + SCALE in packed else tensor
        for name, tensor in packed.items()
        if not name.endswith(SCALE)
    }
