"""Checkpoints: the whole state of a run in one file, of tensors and plain values (weights_only=True)."""

import errno
import shlex
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..model.ranks import rank
from ..weights.files import first_line, not_written, read_json

FILE = "checkpoint.pt"
TOLD = {"finetune": {"options", "settings", "data"}, "pretrain": {"options", "settings"}}  # in config.json
KEEP_EVERY = 300.0  # seconds between two checkpoints within an epoch


class BeginAnewError(ValueError):
    """A run can never go on from its checkpoint."""

    exit_status = 65  # of the command: EX_DATAERR of sysexits.h


def save_checkpoint(
    folder: Path,
    progress: dict[str, Any],
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    scaler: torch.amp.GradScaler,
) -> None:
    """Write the state of a run, and how far it has come; the file appears whole or not at all.

    Raises:
        OSError: it cannot be written; the one before is still there.
    """
    state = {
        "progress": progress,
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "scaler": scaler.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }
    aside = folder / f".{FILE}"
    try:
        with aside.open("wb") as file:  # torch's own writer does not say why it fails
            torch.save(state, file)
        aside.replace(folder / FILE)
    except (OSError, RuntimeError) as error:
        # Where the disk is full in the midst of a tensor, torch's writer raises an error of its own about the system's.
        cause = error.__context__ if isinstance(error, RuntimeError) else error
        if not isinstance(cause, OSError):
            raise
        raise not_written(folder / FILE, cause) from error
    finally:
        aside.unlink(missing_ok=True)


def load_checkpoint(
    folder: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], scaler: torch.amp.GradScaler
) -> dict[str, Any]:
    """Restore a run's state, also of random numbers, and return its progress.

    Raises:
        ValueError: there is none.
        BeginAnewError: it is damaged or of another model.
    """
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"{folder} has no {FILE}: it was finished, stopped before its first one, or is no run")
    require_whole(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError) as error:
        raise ValueError(f"{path} cannot be read ({first_line(error)}): see to its disk, or to memory") from error
    except Exception as error:  # torch.load raises many kinds of errors for a broken file
        raise BeginAnewError(f"{path} cannot be read ({first_line(error)}): start the run anew") from error
    try:
        model.load_state_dict(state["model"])
        for optimizer, before in zip(optimizers, state["optimizers"], strict=True):
            for group, own in zip(before["param_groups"], optimizer.param_groups, strict=True):
                group |= {name: own[name] for name in ("lr", "capturable") if name in own}  # for graphs or not, as now
            optimizer.load_state_dict(before)
    except torch.OutOfMemoryError:  # is a RuntimeError too
        raise
    except (RuntimeError, ValueError, KeyError) as error:  # other names or shapes
        what = f"{path} is of another model, or another version of this code"
        raise BeginAnewError(f"{what}: start the run anew") from error
    scaler.load_state_dict(state["scaler"])
    torch.set_rng_state(state["random"])
    if torch.cuda.is_initialized() and state["random_cuda"] is not None:
        torch.cuda.set_rng_state(state["random_cuda"])
    return state["progress"]


def require_whole(path: Path) -> None:
    """BeginAnewError where a part of the file differs from its checksum, which torch writes and never looks at."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): see to its disk and its permissions") from error
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # zipfile, too, raises many kinds
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # which a damaged place in the file gives
            raise ValueError(
                f"{path} cannot be read ({error.strerror}): see to its disk and its permissions"
            ) from error
        raise BeginAnewError(f"{path} cannot be read ({first_line(error)}): start the run anew") from error
    if damaged is not None:
        raise BeginAnewError(f"{path} is damaged ({damaged} differs from its checksum): start the run anew")


@contextmanager
def told_how_to_go_on(script: str, run: Path) -> Iterator[None]:
    """Where it breaks off by a signal, or for want of room, print the command that goes on with the run."""
    try:
        yield
    except (KeyboardInterrupt, OSError):
        command = ""
        if (run / FILE).is_file():
            command = f"{script} --resume"
        elif script == "finetune" and (run / "model" / "config.json").is_file():  # all that lacks is the page
            command = "failures"
        if command and not rank():
            with suppress(OSError):  # the terminal may be gone
                print(f"\ngo on with    tezukuri {command} {shlex.quote(str(run))}", file=sys.stderr)
        raise


def config_of_stopped_run(run: Path, script: str = "pretrain") -> dict[str, Any]:
    """The `config.json` of a run of finetune or pretrain; ValueError where there is nothing to resume."""
    if not (run / "config.json").is_file():
        raise ValueError(f"{run} is no run: it has no config.json")
    if not (run / FILE).is_file():
        raise ValueError(f"{run} has no {FILE}: it ended, stopped before its first one, or kept no checkpoints")
    config = read_json(run / "config.json")
    if {name for name in TOLD["finetune"] if isinstance(config.get(name), dict)} != TOLD[script]:
        raise ValueError(
            f"{run / 'config.json'} does not tell what a run of {script} was started with: resume it by the command "
            "that began it"
        )
    return config
