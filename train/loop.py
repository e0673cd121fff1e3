"""Fine-tuning, in one function to be read from top to bottom; step.py is what a step of it computes.

Letters: B texts in a micro-batch, C columns of logits, n texts of the training split.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..eval.predict import NotFiniteError, predict
from ..eval.progress import progress_bar
from ..eval.tasks.task import Task
from ..model.model import Model
from ..model.ranks import rank, ranks, sum_over_ranks
from .batch import Texts, batch_of
from .checkpoint import KEEP_EVERY, load_checkpoint, save_checkpoint
from .optimizer import learning_rate, set_rate
from .regularizers.regularizer import Regularizer
from .settings import Settings
from .signals import put_off
from .step import Step
from .team import Team

CHECK_EVERY = 20  # steps between two checks of the loss, since each waits for the device


class TrainingError(RuntimeError):
    """Training that cannot go on."""


@dataclass
class Progress:
    """How far a run has come."""

    epoch: int = 0  # finished
    rows: list[dict[str, Any]] = field(default_factory=list)  # of log.csv, from epoch 0 (before training) on
    best_weights: dict[str, Tensor] | None = None  # of the best epoch so far, on the CPU; None where it is the last
    regularizers: list[dict[str, Any]] = field(default_factory=list)  # the state of each
    # Of the epoch that has begun: its steps so far, what the log will have of them, and their time.
    losses: list[Tensor] = field(default_factory=list)  # of each step; on the device, so that no step waits for it
    norms: list[Tensor] = field(default_factory=list)  # of each step, before clipping
    sizes: list[int] = field(default_factory=list)  # texts of each step
    penalties: dict[str, Tensor] = field(default_factory=dict)  # over the texts of all steps
    seconds: float = 0.0


def fine_tune(
    model: Model,
    task: Task,
    train: Texts,
    dev: Texts,
    settings: Settings,
    checkpoints: Path | None = None,
    resume: bool = False,
    regularizers: Sequence[Regularizer] = (),
) -> Iterator[dict[str, Any]]:
    """Train a model; yields one row of the log for each epoch, beginning with epoch 0, before training.

    When it ends, the model has the weights of the epoch that `settings.select` chooses.

    Args:
        model: on the device to train on.
        train: n encoded texts with their targets.
        dev: the split that is evaluated after each epoch.
        checkpoints: folder for a checkpoint after each epoch, and, of one process, within an epoch at a signal and
            every KEEP_EVERY seconds; none are written without it.
        resume: go on from the checkpoint that is there. On a CPU the end is bit for bit that of an unbroken run.
        regularizers: their methods are called in this order.

    Raises:
        KeyboardInterrupt: a signal came that ends programs (Ctrl-C, SIGTERM, SIGHUP); its checkpoint is written.
        TrainingError: the loss is no longer a finite number.
        ValueError: there is nothing to train on, or no checkpoint to resume; or regularizers do not go together.
    """
    n, device = len(train.targets), next(model.parameters()).device
    if not n or not len(dev.targets):
        raise ValueError("training needs texts in the train split and in the dev split")
    window_size = settings.batch_size * settings.accumulate  # texts in a step
    micro_batch = math.ceil(settings.batch_size / ranks())  # texts of it that one process takes at a time
    steps_per_epoch = math.ceil(n / window_size)
    if model.classifier.gathers and ranks() > 1:
        steps_per_epoch = whole_steps(n, settings)
    steps = settings.epochs * steps_per_epoch
    if (settings.warmup_steps or 0) >= steps:
        told = f"the warm-up has {settings.warmup_steps} steps, and the run {steps}"
        print(f"note    {told}: the rate never reaches {settings.lr:g}")
    team = Team(regularizers)
    with team.at_work(model, train, dev):
        step = Step(model, team, settings, train.encodings, device)
        optimizer, scaler, precision = step.optimizer, step.scaler, step.precision

        # Go on from a checkpoint, or begin with epoch 0: dev before training.
        progress = Progress()
        if resume and checkpoints:
            progress = Progress(**load_checkpoint(checkpoints, model, [optimizer], scaler))
            team.load_states(progress.regularizers)
            for name in ("losses", "norms"):
                setattr(progress, name, [x.to(device) for x in getattr(progress, name)])
            totals = {} if rank() else progress.penalties  # they are summed over the processes
            progress.penalties = {name: total.to(device) for name, total in totals.items()}
        if not progress.rows:
            unknown = dict.fromkeys(["train_loss", *(f"train_{name}" for name in team.logged), "grad_norm"])
            with team.evaluation(model):
                scores = evaluate_dev(model, task, dev, precision)
            progress.rows.append({"epoch": 0, "lr": 0.0, **unknown, "seconds": 0.0} | scores)
        score_of(progress.rows[0], settings.select, task)  # refused now rather than after an epoch
        yield from progress.rows

        def keep() -> float:
            """Write a checkpoint, unless this process has none to write; returns when that was."""
            progress.regularizers = team.states()
            if checkpoints and not rank():
                by_step = {name: torch.stack(of) for name in ("losses", "norms") if (of := getattr(progress, name))}
                save_checkpoint(checkpoints, vars(progress) | by_step, model, [optimizer], scaler)
            return time.monotonic()

        within = ranks() == 1  # several would have to agree on the step
        while progress.epoch < settings.epochs and not out_of_patience(progress, settings, task):
            # Begin an epoch, or go on within it: all texts in a random order.
            epoch, begun, kept = progress.epoch + 1, time.perf_counter() - progress.seconds, time.monotonic()
            model.train()
            if rank():  # the same weights as the first process, other dropout
                torch.manual_seed(settings.seed + 1000 * rank() + epoch)
            order = np.random.default_rng([settings.seed, epoch]).permutation(n)
            losses, norms, sizes, penalties = progress.losses, progress.norms, progress.sizes, progress.penalties
            for name in team.logged:
                penalties.setdefault(name, torch.zeros((), device=device))
            with put_off(within) as stop:  # a signal waits until the checkpoint is written
                bar = step_bar(len(losses), steps_per_epoch, epoch, settings)
                for step_of_epoch in bar:
                    # Set the learning rate.
                    number = (epoch - 1) * steps_per_epoch + step_of_epoch
                    set_rate(optimizer, learning_rate(number, steps, settings))

                    # Draw the window of texts of this step, and go through it in micro-batches, forward and backward.
                    window = order[step_of_epoch * window_size :][:window_size]
                    mine = window[rank() :: ranks()]  # all of it, unless there are several processes
                    loss = torch.zeros((), device=device)
                    for start in range(0, len(mine), micro_batch):
                        chosen = mine[start : start + micro_batch]
                        batch = team.change_batch(batch_of(train, chosen, device))
                        found = step.learn(batch, len(chosen), len(window))
                        loss += found["loss"]
                        for name in penalties:
                            penalties[name] += found.get(f"train_{name}", 0) * len(chosen)
                    sum_over_ranks([loss])

                    # Clip the gradients, and take the step.
                    norms.append(step.update())
                    team.after_step(model, (number + 1) / steps)

                    # Check the losses now and then.
                    losses.append(loss)
                    sizes.append(len(window))
                    if len(losses) % CHECK_EVERY == 0 or len(losses) == steps_per_epoch:
                        recent = require_finite(losses, penalties, epoch, settings, precision)
                        bar.set_postfix(loss=f"{np.mean(recent):.3f}")

                    # Keep a checkpoint within the epoch: at a signal, and now and then.
                    if within and (stop.asked or time.monotonic() - kept > KEEP_EVERY):
                        require_finite(losses, penalties, epoch, settings, precision)
                        progress.seconds = time.perf_counter() - begun
                        kept = keep()
                        if stop.asked:
                            raise KeyboardInterrupt

                # Evaluate on dev, and keep the weights of the best epoch.
                sum_over_ranks(penalties.values())
                with team.evaluation(model):
                    try:
                        scores = evaluate_dev(model, task, dev, precision)
                    except NotFiniteError as error:
                        raise stopped(f"after the last step of epoch {epoch}, {error}", settings, precision) from error
                    row = {
                        "epoch": epoch,
                        "lr": learning_rate(epoch * steps_per_epoch - 1, steps, settings),
                        "train_loss": float(np.average(torch.stack(losses).tolist(), weights=sizes)),  # with dropout
                        **{f"train_{name}": float(total) / sum(sizes) for name, total in penalties.items()},
                        "grad_norm": float(np.median(torch.stack(norms).tolist())),  # before clipping
                        **scores,
                        "seconds": time.perf_counter() - begun,
                    }
                    progress.epoch = epoch
                    progress.rows.append(row)
                    wanted = settings.select != "last" or team.members  # else the last weights are in the model
                    if wanted and chosen_epoch(progress.rows, settings.select, task) == epoch:
                        progress.best_weights = {k: v.to("cpu", copy=True) for k, v in model.state_dict().items()}

                # Write a checkpoint.
                progress.losses, progress.norms, progress.sizes = [], [], []
                progress.penalties, progress.seconds = {}, 0.0
                keep()
            yield row
            if stop.asked:
                raise KeyboardInterrupt

        if progress.best_weights is not None:
            model.load_state_dict(progress.best_weights)
    model.eval()


def step_bar(done: int, steps: int, epoch: int, settings: Settings) -> tqdm:
    """The steps of an epoch that are left, with a bar."""
    before, whole = (epoch - 1) * steps + done, settings.epochs * steps  # of the whole job
    title = f"epoch {epoch}/{settings.epochs}"
    return progress_bar(range(done, steps), title, "step", initial=before, total=whole)


def whole_steps(n: int, settings: Settings) -> int:
    """The steps of an epoch in which all processes have equally many of n texts; the others are left out of it."""
    window = settings.batch_size * settings.accumulate
    if settings.batch_size % ranks() or n < window:
        raise ValueError(
            f"this loss is of all processes together: batch_size, {settings.batch_size}, must be a multiple of their "
            f"number, {ranks()}, and an epoch needs {window} texts or more, not {n}"
        )
    if n % window:
        print(f"note    {n % window} texts, others each time, are left out of an epoch, since processes share a batch")
    return n // window


def require_finite(
    losses: list[Tensor], penalties: dict[str, Tensor], epoch: int, settings: Settings, precision: torch.dtype
) -> list[float]:
    """The losses since the last check; TrainingError where one of them, or a penalty, is no finite number."""
    for name, total in penalties.items():
        if not total.isfinite():
            where = f"by step {len(losses)} of epoch {epoch}"
            raise stopped(f"the penalty of {name} became {float(total)} {where}", settings, precision)
    recent = torch.stack(losses[-CHECK_EVERY:]).tolist()
    bad = [i for i, value in enumerate(recent) if not math.isfinite(value)]
    if bad:
        at = len(losses) - len(recent) + bad[0] + 1
        raise stopped(f"the loss is {recent[bad[0]]} at step {at} of epoch {epoch}", settings, precision)
    return recent


def evaluate_dev(model: Model, task: Task, dev: Texts, precision: torch.dtype) -> dict[str, float]:
    """The scores of the dev split, by the task's own loss, whatever the training loss is."""
    logits = predict(model, dev.encodings, precision=precision, progress="dev", parts=task.parts)
    against = dev.targets if dev.against is None else dev.against
    found = task.measure(task.read(logits.numpy(), dev.encodings), against)
    return {f"dev_{name}": value for name, value in found.items()}


def score_of(row: dict[str, Any], select: str, task: Task) -> float:
    """The score that an epoch is chosen by; higher is better."""
    if select == "last":
        return float(row["epoch"])
    name = task.best if select == "best" else select.removeprefix("best-")
    if f"dev_{name}" not in row:
        names = [key.removeprefix("dev_") for key in row if key.startswith("dev_")]
        raise ValueError(f"no epoch can be chosen by {name!r}: {task.name} is measured by {', '.join(names)}")
    return -row[f"dev_{name}"] if name in task.falling else row[f"dev_{name}"]


def chosen_epoch(rows: list[dict[str, Any]], select: str, task: Task) -> int:
    """The epoch with the best score; of equally good ones that with the lower loss, then the first."""
    return max(rows[1:], key=lambda row: (score_of(row, select, task), -row["dev_loss"]))["epoch"]


def out_of_patience(progress: Progress, settings: Settings, task: Task) -> bool:
    """Whether the last `patience` epochs were no better than one before; with `last`, by dev loss. Where `stop_by` says
    so, by the loss of training, which must have fallen by `least_change`."""
    if not settings.patience or not progress.epoch:
        return False
    if settings.stop_by == "train-loss":
        best, waited = math.inf, 0
        for row in progress.rows[1:]:
            better = row["train_loss"] < best - settings.least_change
            best, waited = (row["train_loss"], 0) if better else (best, waited + 1)
        return waited >= settings.patience
    select = settings.select if settings.select != "last" else "best-loss"
    return progress.epoch - chosen_epoch(progress.rows, select, task) >= settings.patience


def stopped(what: str, settings: Settings, precision: torch.dtype) -> TrainingError:
    """The error for a run whose numbers are no longer finite, with the likely cause."""
    likely = "fp16 overflowed: try bf16 or fp32" if precision == torch.float16 else "the learning rate is too high"
    return TrainingError(
        f"{what}; likely {likely} (lr is {settings.lr:g}), or the checkpoint holds such numbers itself"
    )
