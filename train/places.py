"""Where the runs of a study are made: as processes of this machine (another place is in on_ray.py)."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import torch


class Process(Protocol):
    """A run at work, as `subprocess.Popen`."""

    returncode: int | None

    def poll(self) -> int | None: ...

    def terminate(self) -> None: ...

    def wait(self) -> Any: ...


class Place(Protocol):
    """What starts runs, so many at a time."""

    slots: int
    told: str  # for the screen

    def start(self, arguments: Sequence[str], folder: Path, output: IO[str]) -> Process:
        """Start finetune with these arguments, of which the last is `folder`, or lies in it."""
        ...


class Here:
    """Processes of this machine, which share its cores, and take its GPUs in turn."""

    def __init__(self, command: Sequence[str], jobs: int = 1, device: str = "auto") -> None:
        self.command, self.slots = command, jobs
        self.made: list[Process | None] = [None] * jobs
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = max(1, cores // jobs)
        # What is set already has priority.
        self.environment = {"OMP_NUM_THREADS": str(threads)} | os.environ | {"PYTHONUNBUFFERED": "1"}
        self.gpus = visible_gpus() if jobs > 1 and device in ("auto", "cuda") else []
        self.told = f"{jobs} at a time, with {self.environment['OMP_NUM_THREADS']} of {cores} cores each"
        self.told += f", on GPU {', '.join(self.gpus)} in turn" if self.gpus else ""
        if jobs > cores:
            self.told += "; these are more than cores, and will wait for each other"

    def start(self, arguments: Sequence[str], folder: Path, output: IO[str]) -> Process:
        slot = next(n for n, process in enumerate(self.made) if process is None or process.poll() is not None)
        one_of = {"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {}
        environment = self.environment | one_of
        command = [*self.command, *arguments]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        self.made[slot] = process
        return process


def visible_gpus() -> list[str]:
    """The names by which CUDA_VISIBLE_DEVICES chooses each GPU that can be used here."""
    n = torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [name.strip() for name in given.split(",")][:n] if given else [str(number) for number in range(n)]
