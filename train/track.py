"""The log of a run as curves for TensorBoard (`--track tensorboard`), which is an extra."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

TRACKERS = ("tensorboard",)
SIDES = {"train_": "train", "dev_": "validation"}  # the two runs that Keras writes, in one picture


def require_tracker() -> type:
    """The writer; ModuleNotFoundError where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ModuleNotFoundError(
            'curves for TensorBoard need the package of that name: pip install "tezukuri[track]"'
        ) from error
    return SummaryWriter


def tracker(folder: Path) -> Callable[[Mapping[str, Any]], None]:
    """A function that writes a row of the log into `folder/tensorboard`, which begins anew: a run that is resumed gives
    all its rows again. Errors are those of `require_tracker`.
    """
    writer_to = require_tracker()
    for old in (folder / "tensorboard").glob("*/events.out.tfevents.*"):
        old.unlink()
    writers = {side: writer_to(str(folder / "tensorboard" / side)) for side in SIDES.values()}

    def write(row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            for beginning, side in SIDES.items():
                if name.startswith(beginning) and value is not None:
                    writers[side].add_scalar(f"epoch_{name.removeprefix(beginning)}", value, row["epoch"])
        for name in ("lr", "grad_norm"):
            if row.get(name) is not None:
                writers["train"].add_scalar(name, row[name], row["epoch"])
        for writer in writers.values():
            writer.flush()

    return write
