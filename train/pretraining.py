"""Masked-language-model pretraining, in one function to be read from top to bottom.

From scratch (Devlin et al. 2019, arXiv:1810.04805, section 3.1), or from a checkpoint on the texts of a domain
(Gururangan et al. 2020, arXiv:2004.10964). A model with labels also predicts the class of each passage that has one,
in the place of next-sentence prediction (after Phang et al. 2018, arXiv:1811.01088).

Letters: B sequences in a batch, T tokens, M of them masked, V vocabulary, C classes.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..eval.progress import progress_bar
from ..model.model import MaskedLM
from ..model.packing import Packed, pack_flat, sent
from ..model.precision import autocast, choose_precision, round_size
from ..tokenize.tokenizer import Tokenizer
from .checkpoint import KEEP_EVERY, load_checkpoint, save_checkpoint
from .loop import TrainingError
from .masking import Masker
from .optimizer import adamw, learning_rate, muon_and_adamw, set_rate
from .sequences import NO_LABEL, Batch, corpus_of
from .settings import Pretraining
from .signals import put_off

HELD_OUT_BATCHES = 32  # of the held-out passages, for evaluation
AHEAD = 4  # batches that are made ready while a GPU learns


@dataclass
class Progress:
    """How far a run has come."""

    step: int = 0
    tokens: int = 0  # in all batches up to the last row
    rows: list[dict[str, Any]] = field(default_factory=list)  # of log.csv
    # Since the last row: the losses of the steps, the tokens in their batches, and the time.
    losses: list[Tensor] = field(default_factory=list)
    new_tokens: int = 0
    seconds: float = 0.0


def pretrain(
    model: MaskedLM,
    tokenizer: Tokenizer,
    files: Sequence[Path],
    settings: Pretraining,
    checkpoints: Path,
    resume: bool = False,
) -> Iterator[dict[str, Any]]:
    """Train a model to predict masked words; yields one row of the log after every `settings.look_every` steps.

    Args:
        model: on the device to train on.
        files: texts, one passage a line, plain or .gz; or all of them files of ids, which `tezukuri encode` makes. One
            passage in five hundred is held out for validation. Where the model has labels, a line may begin with one of
            them and a tab.
        checkpoints: folder for a checkpoint with every row, at a signal and every KEEP_EVERY seconds.
        resume: go on from the checkpoint that is there. On a CPU the end is bit for bit that of an unbroken run.

    Raises:
        KeyboardInterrupt: a signal came that ends programs (Ctrl-C, SIGTERM, SIGHUP); its checkpoint is written.
        DataError: there is no text to train on.
        TrainingError: the loss is no longer a finite number.
    """
    # Model and optimizers.
    device = next(model.parameters()).device
    precision = choose_precision(settings.precision, device)
    optimizers = muon_and_adamw(model, settings) if settings.optimizer == "muon" else [adamw(model, settings)]
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    masker = Masker.of(tokenizer, settings.mask_rate)

    # Batches to learn from, and held-out ones for validation.
    cut = settings.max_length, settings.batch_tokens, settings.seed
    corpus = corpus_of(files, tokenizer, *cut, model.labels)
    held_out = [
        masked(batch, masker, np.random.default_rng([0, number]), precision)  # the same masks every time
        for number, batch in enumerate(islice(corpus.held_out, HELD_OUT_BATCHES))
    ]

    # Begin, or go on from a checkpoint, with the batches after those before it.
    progress = Progress()
    if resume:
        progress = Progress(**load_checkpoint(checkpoints, model, optimizers, scaler))
        progress.losses = [loss.to(device) for loss in progress.losses]
    yield from progress.rows
    ready = (
        masked(batch, masker, np.random.default_rng([settings.seed, step]), precision)
        for step, batch in islice(enumerate(corpus.training), progress.step, settings.steps)
    )
    source = ready if device.type == "cpu" else ahead(ready, AHEAD)

    with progress_bar(None, "pretraining", "step", total=settings.steps, initial=progress.step, leave=True) as bar:
        while progress.step < settings.steps:
            model.train()
            begun, kept = time.perf_counter() - progress.seconds, time.monotonic()
            next_row = min((progress.step // settings.look_every + 1) * settings.look_every, settings.steps)
            with put_off() as stop:  # a signal waits until the checkpoint is written
                for step in range(progress.step, next_row):
                    # Set the learning rate.
                    for optimizer in optimizers:
                        set_rate(optimizer, learning_rate(step, settings.steps, settings))
                    # Forward and backward.
                    batch = next(source)
                    guess = guesses(model, batch, precision)
                    scaler.scale(guess.loss).backward()
                    # Clip the gradients.
                    for optimizer in optimizers:
                        scaler.unscale_(optimizer)
                    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
                    # Take the step.
                    for optimizer in optimizers:
                        scaler.step(optimizer)
                        optimizer.zero_grad()
                    scaler.update()
                    progress.losses.append(guess.loss.detach())
                    progress.new_tokens += batch.tokens
                    progress.step = step + 1
                    bar.update()
                    # Keep a checkpoint between two rows: at a signal, and now and then.
                    if stop.asked or time.monotonic() - kept > KEEP_EVERY:
                        mean_of(progress.losses, step, settings)
                        progress.seconds, kept = time.perf_counter() - begun, time.monotonic()
                        save_checkpoint(checkpoints, vars(progress), model, optimizers, scaler)
                        if stop.asked:
                            raise KeyboardInterrupt

                # Evaluate on the held-out passages, and write a checkpoint.
                progress.seconds = time.perf_counter() - begun
                progress.tokens += progress.new_tokens
                row = {
                    "step": progress.step,
                    "tokens": progress.tokens,
                    "lr": learning_rate(progress.step - 1, settings.steps, settings),
                    "train_loss": mean_of(progress.losses, progress.step - 1, settings),
                    **evaluate(model, held_out, precision),
                    "tokens_per_second": progress.new_tokens / progress.seconds,
                }
                bar.set_postfix(loss=f"{row['train_loss']:.3f}", tokens_per_second=f"{row['tokens_per_second']:.0f}")
                progress.rows.append(row)
                progress.losses, progress.new_tokens, progress.seconds = [], 0, 0.0
                save_checkpoint(checkpoints, vars(progress), model, optimizers, scaler)
            yield row
            if stop.asked:
                raise KeyboardInterrupt
    model.eval()


def mean_of(losses: Sequence[Tensor], step: int, settings: Pretraining) -> float:
    """The mean of the losses up to `step`; TrainingError where it is no finite number."""
    mean = float(torch.stack(list(losses)).mean())
    if not np.isfinite(mean):
        raise TrainingError(f"the loss is {mean} before step {step + 1}; likely lr {settings.lr:g} is too high")
    return mean


@dataclass
class Masked:
    """A batch that is ready to be guessed."""

    packed: Packed  # with masked ids
    at: Tensor  # (M,) places of the tokens to guess
    targets: Tensor  # (M,) their ids
    labels: Tensor  # (B,) classes, NO_LABEL where there is none
    tokens: int  # without [PAD]
    labelled: int  # how many of B have a class


def masked(batch: Batch, masker: Masker, rng: np.random.Generator, precision: torch.dtype) -> Masked:
    shown, at, targets = masker(batch.ids, rng)
    return Masked(
        packed=pack_flat(shown, batch.type_ids, batch.lengths, round_size(precision)),
        at=torch.from_numpy(at),
        targets=torch.from_numpy(targets),
        labels=torch.from_numpy(batch.labels),
        tokens=len(batch.ids),
        labelled=int((batch.labels != NO_LABEL).sum()),
    )


def ahead(items: Iterator[Masked], number: int) -> Iterator[Masked]:
    """The same, of which some are made ready in another thread."""
    with ThreadPoolExecutor(1) as worker:
        coming = deque(worker.submit(next, items, None) for _ in range(number))
        while (item := coming.popleft().result()) is not None:
            coming.append(worker.submit(next, items, None))
            yield item


@dataclass
class Guesses:
    """A model's predictions for one batch."""

    loss: Tensor  # scalar: of the masked tokens, plus, where there are labels, that of the classes; each a mean
    masked_loss: Tensor  # summed over the M masked tokens
    right: Tensor  # how many of them are right
    masked: int  # M
    class_right: Tensor | int = 0  # how many classes are right
    labelled: int = 0  # of so many


def guesses(model: MaskedLM, batch: Masked, precision: torch.dtype) -> Guesses:
    """Predict the masked tokens and the classes of a batch."""
    # Only masked tokens go through the head: V logits for each of all T would be most of the work.
    device = next(model.parameters()).device
    wanted, labels = sent(batch.targets, device), sent(batch.labels, device)
    with autocast(device, precision):
        output = model(batch.packed.to(device), at=sent(batch.at, device))  # logits (M, V), class logits (B, C)
    summed = F.cross_entropy(output.logits.float(), wanted, reduction="sum")
    right = (output.logits.argmax(dim=-1) == wanted).sum()
    guess = Guesses(summed / max(1, len(wanted)), summed.detach(), right, len(wanted))
    if output.class_logits is not None and batch.labelled:
        guess.loss = guess.loss + F.cross_entropy(output.class_logits.float(), labels, ignore_index=NO_LABEL)
        guess.class_right = (output.class_logits.argmax(dim=-1) == labels).sum()  # no class is NO_LABEL
        guess.labelled = batch.labelled
    return guess


@torch.inference_mode()
def evaluate(model: MaskedLM, held_out: Sequence[Masked], precision: torch.dtype) -> dict[str, Any]:
    """Loss and accuracy on the masked tokens of the held-out passages.

    With labels, also the accuracy of the classes; the passages are masked there too.
    """
    model.eval()
    found = [guesses(model, batch, precision) for batch in held_out]
    masked, labelled = sum(guess.masked for guess in found), sum(guess.labelled for guess in found)
    row = {
        "val_loss": sum(float(guess.masked_loss) for guess in found) / masked if masked else None,
        "val_accuracy": sum(int(guess.right) for guess in found) / masked if masked else None,
    }
    if model.labels:
        right = sum(int(guess.class_right) for guess in found)
        row["val_label_accuracy"] = right / labelled if labelled else None
    return row
