"""The device and the precision of a computation.

Mixed precision (Micikevicius et al. 2018, arXiv:1710.03740): weights stay in fp32, matrix products run in bf16 or fp16.
"""

from contextlib import AbstractContextManager

import torch

from .ranks import ranks

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """`auto` is CUDA where there is a GPU, else the CPU; any other name is torch's own (`cuda:1`, `mps`).

    Raises:
        ValueError: an unknown device, or a GPU that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device {name!r} is not known; choose auto, cpu, cuda, cuda:1 or mps")
    if device.index is not None and ranks() > 1:
        raise ValueError(f"several processes cannot share {name}: choose cuda, for a GPU each, or cpu")
    if device.type == "cuda" and ranks() > torch.cuda.device_count() > 0:
        raise ValueError(f"{ranks()} processes need a GPU each, but there are {torch.cuda.device_count()}: start fewer")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("there is no mps here, the GPU of a Mac; choose cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"there is no {name} here: torch sees {torch.cuda.device_count()} GPUs; choose cpu or auto")
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """`fp32`, `bf16` or `fp16`; `auto` is the fastest without emulation.

    That is bf16 on a GPU from Ampere on and on a CPU that multiplies it, fp16 on an older GPU, else fp32.

    Raises:
        ValueError: an unknown name, or fp16 on a CPU.
    """
    if name == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        return torch.bfloat16 if device.type == "cpu" and cpu_multiplies_bf16() else torch.float32
    if name not in PRECISIONS:
        raise ValueError(f"precision {name!r} is not known; choose auto, {', '.join(PRECISIONS)}")
    if name == "fp16" and device.type != "cuda":
        raise ValueError(f"fp16 is for CUDA; on {device.type} choose bf16 or fp32 (or auto)")
    return PRECISIONS[name]


def cpu_multiplies_bf16() -> bool:
    """Whether this CPU has instructions for products of bf16 (AVX-512 BF16 or AMX)."""
    if hasattr(torch.cpu, "get_capabilities"):  # torch 2.13
        has = torch.cpu.get_capabilities()
        return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def name_of(precision: torch.dtype) -> str:
    return next(name for name, dtype in PRECISIONS.items() if dtype == precision)


def round_size(precision: torch.dtype) -> int | None:
    """`pack`'s `multiple`: 8 in bf16 and fp16, whose products are faster so, None in fp32."""
    return None if precision == torch.float32 else 8


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager:
    """A context in which matrix products run in `precision`."""
    return torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32)
