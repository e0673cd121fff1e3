"""Fine-tuning a classifier, in one function to be read from top to bottom.

Letters: B texts in a micro-batch, C classes, n texts of the training split.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..eval.predict import NotFiniteError, predict
from ..eval.tasks.metrics import measure
from ..model.bert import Output
from ..model.heads import BertClassifier
from ..model.packing import Packed, pack
from ..model.precision import autocast, choose_precision, round_size
from ..model.ranks import rank, ranks, sum_gradients, sum_over_ranks
from .batch import Batch, Texts, batch_of
from .checkpoint import load_checkpoint, save_checkpoint
from .optimizer import adamw, cut_gradients, learning_rate
from .regularizers.regularizer import Regularizer, at_work, evaluation
from .settings import Settings

log = logging.getLogger("tezukuri")

LOOK_EVERY = 20  # steps between two looks at the loss, since each look waits for the GPU


class TrainingError(RuntimeError):
    """Training that cannot go on; the message says where it stopped and the likely cause."""


@dataclass
class Progress:
    """How far a run has come."""

    epoch: int = 0  # finished
    rows: list[dict[str, Any]] = field(default_factory=list)  # of log.csv, from epoch 0 (before training) on
    best_weights: dict[str, Tensor] | None = None  # of the epoch chosen so far, on the CPU; None where it is the last
    regularizers: list[dict[str, Any]] = field(default_factory=list)  # the state of each


def fine_tune(
    model: BertClassifier,
    train: Texts,
    dev: Texts,
    settings: Settings,
    checkpoints: Path | None = None,
    resume: bool = False,
    regularizers: Sequence[Regularizer] = (),
) -> Iterator[dict[str, Any]]:
    """Train a model; a generator of one row of the log for each epoch, beginning with epoch 0, before training.

    When it ends, the model has the weights of the epoch that `settings.select` chooses.

    Args:
        model: on the device to train on, its head already made.
        train: n encoded texts with their class numbers.
        dev: the split that is looked at after each epoch.
        checkpoints: folder for a checkpoint after each epoch; none are written without it.
        resume: go on from the checkpoint that is there. On a CPU the end is bit for bit that of an unbroken run.
        regularizers: each is asked in this order, wherever one is asked.

    Raises:
        TrainingError: the loss is no longer a finite number.
        ValueError: there is nothing to train on, or no checkpoint to resume; or regularizers do not go together.
    """
    n, classes = len(train.gold), len(model.config.labels)
    if not n or not len(dev.gold):
        raise ValueError("training needs texts in the train split and in the dev split")
    device = next(model.parameters()).device
    precision = choose_precision(settings.precision, device)
    regularizers = [regularizer for regularizer in regularizers if not regularizer.neutral]
    with at_work(regularizers, model, train, dev):
        logged = [r.name for r in regularizers if type(r).penalty is not Regularizer.penalty]
        optimizer = adamw(model, settings, lambda name: math.prod(r.rate(name) for r in regularizers))
        scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
        forward = compiled(model) if settings.compile else model
        first_share = math.prod(regularizer.first_share for regularizer in regularizers)

        def task(packed: Packed, batch: Batch, portion: float) -> tuple[Output, Tensor]:
            """One forward pass, and the sum of its losses times a portion."""
            with autocast(device, precision):
                output = forward(packed)  # logits (B, C)
            return output, portion * task_loss(output.logits, batch.targets, regularizers)

        def scaled_loss(packed: Packed, batch: Batch, portion: float) -> Tensor:
            return scaler.scale(task(packed, batch, portion)[1])

        window_size = settings.batch_size * settings.accumulate  # texts in a step
        micro_batch = math.ceil(settings.batch_size / ranks())  # texts of it that one process takes at a time
        steps_per_epoch = math.ceil(n / window_size)
        steps = settings.epochs * steps_per_epoch

        progress = Progress()
        if resume and checkpoints:
            progress = Progress(**load_checkpoint(checkpoints, model, [optimizer], scaler))
            for regularizer, state in zip(regularizers, progress.regularizers, strict=True):
                regularizer.load_state(state)
        if not progress.rows:
            unknown = dict.fromkeys(["train_loss", *(f"train_{name}" for name in logged), "grad_norm"])
            with evaluation(model, regularizers):
                progress.rows.append({"epoch": 0, "lr": 0.0, **unknown, "seconds": 0.0} | look(model, dev, precision))
        yield from progress.rows

        while progress.epoch < settings.epochs and not out_of_patience(progress, settings):
            epoch, started = progress.epoch + 1, time.perf_counter()
            model.train()
            if rank():  # the same weights as the first process, other dropout
                torch.manual_seed(settings.seed + 1000 * rank() + epoch)
            order = np.random.default_rng([settings.seed, epoch]).permutation(n)
            losses, norms, sizes = [], [], []  # of each step; on the device, so that no step waits for it
            penalties = {name: torch.zeros((), device=device) for name in logged}  # summed over the texts of the epoch
            bar = tqdm(
                range(steps_per_epoch),
                desc=f"epoch {epoch}/{settings.epochs}",
                unit="step",
                leave=False,
                disable=True if rank() else None,
            )
            for step_of_epoch in bar:
                step = (epoch - 1) * steps_per_epoch + step_of_epoch
                lr = learning_rate(step, steps, settings)
                for group in optimizer.param_groups:
                    group["lr"] = lr * group["factor"]

                # A step sees a window of texts, in micro-batches; each text weighs the same, also in a short window.
                window = order[step_of_epoch * window_size :][:window_size]
                loss = torch.zeros((), device=device)
                share = window[rank() :: ranks()]  # all of it, unless there are several processes
                for start in range(0, len(share), micro_batch):
                    chosen = share[start : start + micro_batch]
                    batch = batch_of(train, chosen, classes, device)
                    for regularizer in regularizers:
                        batch = regularizer.change_batch(batch)
                    packed = pack(batch.texts, round_size(precision), share_rows=True).to(device)
                    # A text that stands there twice counts once.
                    portion = len(chosen) / len(batch.targets) / len(window)

                    output, part = task(packed, batch, portion)
                    loss += part.detach()
                    part = part * first_share
                    for regularizer in regularizers:
                        penalty = regularizer.penalty(output, batch)
                        if penalty is not None:
                            part = part + penalty * len(chosen) / len(window)
                            penalties[regularizer.name] += penalty.detach() * len(chosen)
                    scaler.scale(part).backward()
                    for regularizer in regularizers:
                        regularizer.second_pass(partial(scaled_loss, packed, batch, portion))
                sum_gradients(model)
                sum_over_ranks([loss])

                scaler.unscale_(optimizer)
                for regularizer in regularizers:
                    regularizer.change_gradients(model)
                fold = device.type == "cpu" and not scaler.is_enabled()
                norms.append(cut_gradients(model, optimizer, settings.max_grad_norm, fold))
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
                for regularizer in regularizers:
                    regularizer.after_step(model, (step + 1) / steps)
                losses.append(loss)
                sizes.append(len(window))
                if len(losses) % LOOK_EVERY == 0 or len(losses) == steps_per_epoch:
                    for name, total in penalties.items():
                        if not total.isfinite():
                            where = f"by step {len(losses)} of epoch {epoch}"
                            raise stopped(f"the penalty of {name} became {float(total)} {where}", settings, precision)
                    lately = torch.stack(losses[-LOOK_EVERY:]).tolist()
                    bad = [i for i, value in enumerate(lately) if not math.isfinite(value)]
                    if bad:
                        at = len(losses) - len(lately) + bad[0] + 1
                        raise stopped(
                            f"the loss is {lately[bad[0]]} at step {at} of epoch {epoch}", settings, precision
                        )
                    bar.set_postfix(loss=f"{np.mean(lately):.3f}")

            sum_over_ranks(penalties.values())
            with evaluation(model, regularizers):
                try:
                    seen = look(model, dev, precision)
                except NotFiniteError as error:
                    raise stopped(f"after the last step of epoch {epoch}, {error}", settings, precision) from error
                row = {
                    "epoch": epoch,
                    "lr": lr,
                    # Over all texts, with dropout.
                    "train_loss": float(np.average(torch.stack(losses).tolist(), weights=sizes)),
                    **{f"train_{name}": float(total) / n for name, total in penalties.items()},
                    "grad_norm": float(np.median(torch.stack(norms).tolist())),  # before clipping
                    **seen,
                    "seconds": time.perf_counter() - started,
                }
                progress.epoch = epoch
                progress.rows.append(row)
                keep = settings.select != "last" or regularizers  # else the weights at the end are those wanted
                if keep and chosen_epoch(progress.rows, settings.select) == epoch:
                    progress.best_weights = {k: v.to("cpu", copy=True) for k, v in model.state_dict().items()}
            progress.regularizers = [regularizer.state() for regularizer in regularizers]
            if checkpoints and not rank():
                save_checkpoint(checkpoints, vars(progress), model, [optimizer], scaler)
            yield row

        if progress.best_weights is not None:
            model.load_state_dict(progress.best_weights)
    model.eval()


def compiled(model: BertClassifier) -> Callable[[Packed], Any]:
    """The model compiled, for batches of any size; where this machine cannot, it says so and goes on without."""
    from torch._dynamo.exc import TorchDynamoException  # takes a second

    fast: Callable[[Packed], Any] = torch.compile(model, dynamic=True)

    def forward(packed: Packed) -> Any:
        nonlocal fast
        try:
            return fast(packed)
        except TorchDynamoException as error:
            log.warning("torch cannot compile the model here (%s): going on without", str(error).split("\n")[0])
            fast = model
            return model(packed)

    return forward


def task_loss(logits: Tensor, targets: Tensor, regularizers: Sequence[Regularizer] = ()) -> Tensor:
    """The summed loss of a micro-batch, in fp32: cross-entropy, unless a regularizer has a loss of its own.

    Logits (B, C) and targets (B, C) → a scalar. The caller divides by the texts of the whole step, so that a mean does
    not depend on how it was cut up.
    """
    logits = logits.float()
    for regularizer in regularizers:
        losses = regularizer.loss(logits, targets)
        if losses is not None:
            return losses.sum()
    return -(targets * logits.log_softmax(dim=-1)).sum()


def look(model: BertClassifier, dev: Texts, precision: torch.dtype) -> dict[str, float]:
    """The metrics of the dev split: plain cross-entropy over all its texts, whatever the training loss is."""
    logits = predict(model, dev.encodings, precision=precision, progress="dev")
    return {f"dev_{name}": value for name, value in measure(logits.numpy(), dev.gold, model.config.labels).items()}


def score_of(row: dict[str, Any], select: str) -> float:
    """What an epoch is chosen by; higher is better."""
    scores = {"best-f1": row["dev_f1"], "best-accuracy": row["dev_accuracy"], "best-loss": -row["dev_loss"]}
    return scores.get(select, float(row["epoch"]))


def chosen_epoch(rows: list[dict[str, Any]], select: str) -> int:
    """The epoch whose weights the model ends with; of equally good ones that with the lower loss, then the first."""
    return max(rows[1:], key=lambda row: (score_of(row, select), -row["dev_loss"]))["epoch"]


def out_of_patience(progress: Progress, settings: Settings) -> bool:
    """Whether the last `patience` epochs brought nothing better; with `last`, dev loss decides."""
    if not settings.patience or not progress.epoch:
        return False
    select = settings.select if settings.select != "last" else "best-loss"
    return progress.epoch - chosen_epoch(progress.rows, select) >= settings.patience


def stopped(what: str, settings: Settings, precision: torch.dtype) -> TrainingError:
    """The error for a run whose numbers are no longer finite, with the likely cause."""
    likely = "fp16 overflowed: try bf16 or fp32" if precision == torch.float16 else "the learning rate is too high"
    return TrainingError(
        f"{what}; likely {likely} (lr is {settings.lr:g}), or the checkpoint holds such numbers itself"
    )
