"""Checkpoints: the whole state of a run in one file, of tensors and plain values (weights_only=True)."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..weights.files import read_json

FILE = "checkpoint.pt"


def save_checkpoint(
    folder: Path,
    progress: dict[str, Any],
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    scaler: torch.amp.GradScaler,
) -> None:
    """Write the state of a run, and how far it has come; the file appears whole or not at all."""
    state = {
        "progress": progress,
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "scaler": scaler.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }
    aside = folder / f".{FILE}"
    torch.save(state, aside)
    os.replace(aside, folder / FILE)  # noqa: PTH105


def load_checkpoint(
    folder: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], scaler: torch.amp.GradScaler
) -> dict[str, Any]:
    """Restore a run's state, also of random numbers, and return its progress; ValueError without a whole checkpoint."""
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"{folder} has no {FILE}: it was finished, stopped before its first one, or is no run")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds of errors for a broken file
        raise ValueError(f"{path} cannot be read ({type(error).__name__}): start the run anew") from error
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:  # other names or shapes
        raise ValueError(f"{path} is of another model, or another version of this code: start the run anew") from error
    for optimizer, before in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(before)
    scaler.load_state_dict(state["scaler"])
    torch.set_rng_state(state["random"])
    if torch.cuda.is_initialized() and state["random_cuda"] is not None:
        torch.cuda.set_rng_state(state["random_cuda"])
    return state["progress"]


def config_of_stopped_run(run: Path) -> dict[str, Any]:
    """The `config.json` of a run; ValueError where there is nothing to resume."""
    if not (run / "config.json").is_file():
        raise ValueError(f"{run} is no run: it has no config.json")
    if not (run / FILE).is_file():
        raise ValueError(f"{run} has no {FILE}: it ended, stopped before its first one, or kept no checkpoints")
    config = read_json(run / "config.json")
    if not isinstance(config.get("options"), dict):
        raise ValueError(f"{run / 'config.json'} does not tell the options that the run was started with")
    return config
