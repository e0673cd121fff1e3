"""The most memory that a training took: of the GPU, or of the whole process."""

import sys

import torch


def forget_peak(device: torch.device) -> None:
    """Count from here on, where the device counts; that of a process counts from its start."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> dict[str, int]:
    """Bytes by kind: `gpu`, what PyTorch took of it at most; else `process`, the most that this process ever held in
    memory, PyTorch itself and all before the training included. Empty on Windows, which tells neither."""
    if device.type == "cuda":
        return {"gpu": torch.cuda.max_memory_allocated(device)}
    if sys.platform == "win32":
        return {}
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return {"process": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
