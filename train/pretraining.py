"""Masked-language-model pretraining, in one function to be read from top to bottom.

From scratch (Devlin et al. 2019, arXiv:1810.04805, section 3.1), or from a checkpoint on the texts of a domain
(Gururangan et al. 2020, arXiv:2004.10964). A model with labels also predicts the class of each passage that has one,
in the place of next-sentence prediction (after Phang et al. 2018, arXiv:1811.01088).

Letters: B sequences in a batch, T tokens, M of them masked, V vocabulary, C classes.
"""

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.passages import count_lines, is_held_out, passages
from ..eval.progress import progress_bar
from ..model.model import MaskedLM
from ..model.packing import pack
from ..model.precision import autocast, choose_precision, round_size
from ..tokenize.tokenizer import Tokenizer
from .checkpoint import KEEP_EVERY, load_checkpoint, save_checkpoint
from .loop import TrainingError
from .masking import Masker
from .optimizer import adamw, learning_rate, muon_and_adamw
from .settings import Pretraining
from .signals import put_off

HELD_OUT_BATCHES = 32  # of the held-out passages, for evaluation
POOL = 16  # batches whose sequences are sorted together
NO_LABEL = -1


class Sample(NamedTuple):
    """One sequence of at most `settings.max_length` tokens, and its class or NO_LABEL."""

    ids: np.ndarray
    type_ids: np.ndarray
    label: int


Batch = list[Sample]


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
        files: texts, one passage a line, plain or .gz; one passage in five hundred is held out for validation. Where
            the model has labels, a line may begin with one of them and a tab.
        checkpoints: folder for a checkpoint with every row, at a signal and every KEEP_EVERY seconds.
        resume: go on from the checkpoint that is there. On a CPU the end is bit for bit that of an unbroken run.

    Raises:
        KeyboardInterrupt: a signal came that ends programs (Ctrl-C, SIGTERM, SIGHUP); its checkpoint is written.
        TrainingError: the loss is no longer a finite number, or there is no text to train on.
    """
    # Model and optimizers.
    device = next(model.parameters()).device
    precision = choose_precision(settings.precision, device)
    optimizers = muon_and_adamw(model, settings) if settings.optimizer == "muon" else [adamw(model, settings)]
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    masker = Masker.of(tokenizer, settings.mask_rate)

    # Held-out passages for validation; a file that is given twice counts once here.
    sizes = [count_lines(path) for path in files]
    once = dict(zip(files, sizes, strict=True))
    held_out_text = (text for text in passages(list(once), list(once.values()), 0) if is_held_out(text))
    held_out = list(islice(batches(held_out_text, tokenizer, settings, model.labels), HELD_OUT_BATCHES))

    # Begin, or go on from a checkpoint, with the batches after those before it.
    progress = Progress()
    if resume:
        progress = Progress(**load_checkpoint(checkpoints, model, optimizers, scaler))
        progress.losses = [loss.to(device) for loss in progress.losses]
    yield from progress.rows
    text = training_passages(files, sizes, settings.seed)
    source = islice(batches(text, tokenizer, settings, model.labels), progress.step, None)

    with progress_bar(None, "pretraining", "step", total=settings.steps, initial=progress.step, leave=True) as bar:
        while progress.step < settings.steps:
            model.train()
            begun, kept = time.perf_counter() - progress.seconds, time.monotonic()
            next_row = min((progress.step // settings.look_every + 1) * settings.look_every, settings.steps)
            with put_off() as stop:  # a signal waits until the checkpoint is written
                for step in range(progress.step, next_row):
                    # Set the learning rate.
                    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
                        group["lr"] = learning_rate(step, settings.steps, settings)
                    # Forward and backward.
                    batch = next(source)
                    guess = guesses(model, batch, masker, np.random.default_rng([settings.seed, step]), precision)
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
                    progress.new_tokens += sum(len(sequence.ids) for sequence in batch)
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
                    **evaluate(model, held_out, masker, precision),
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
class Guesses:
    """A model's predictions for one batch."""

    loss: Tensor  # scalar: of the masked tokens, plus, where there are labels, that of the classes; each a mean
    masked_loss: Tensor  # summed over the M masked tokens
    right: Tensor  # how many of them are right
    masked: int  # M
    class_right: Tensor | int = 0  # how many classes are right
    labelled: int = 0  # of so many


def guesses(model: MaskedLM, batch: Batch, masker: Masker, rng: np.random.Generator, precision: torch.dtype) -> Guesses:
    """Mask a batch, and predict the masked tokens and the classes."""
    # Only masked tokens go through the head: V logits for each of all T would be most of the work.
    device = next(model.parameters()).device
    packed = pack(batch, round_size(precision))
    shown, at, targets = masker(packed.ids.numpy(), rng)
    packed.ids = torch.from_numpy(shown)
    wanted = torch.from_numpy(targets).to(device)
    with autocast(device, precision):
        output = model(packed.to(device), at=torch.from_numpy(at).to(device))  # logits (M, V), class logits (B, C)
    summed = F.cross_entropy(output.logits.float(), wanted, reduction="sum")
    right = (output.logits.argmax(dim=-1) == wanted).sum()
    guess = Guesses(summed / max(1, len(at)), summed.detach(), right, len(at))
    labels = torch.tensor([sample.label for sample in batch])
    labelled = int((labels != NO_LABEL).sum())
    if output.class_logits is not None and labelled:
        labels = labels.to(device)
        guess.loss = guess.loss + F.cross_entropy(output.class_logits.float(), labels, ignore_index=NO_LABEL)
        guess.class_right = (output.class_logits.argmax(dim=-1) == labels).sum()  # no class is NO_LABEL
        guess.labelled = labelled
    return guess


@torch.inference_mode()
def evaluate(model: MaskedLM, held_out: Sequence[Batch], masker: Masker, precision: torch.dtype) -> dict[str, Any]:
    """Loss and accuracy on the masked tokens of the held-out passages, with the same masks every time.

    With labels, also the accuracy of the classes; the passages are masked there too.
    """
    model.eval()
    found = [guesses(model, b, masker, np.random.default_rng([0, n]), precision) for n, b in enumerate(held_out)]
    masked, labelled = sum(guess.masked for guess in found), sum(guess.labelled for guess in found)
    row = {
        "val_loss": sum(float(guess.masked_loss) for guess in found) / masked if masked else None,
        "val_accuracy": sum(int(guess.right) for guess in found) / masked if masked else None,
    }
    if model.labels:
        right = sum(int(guess.class_right) for guess in found)
        row["val_label_accuracy"] = right / labelled if labelled else None
    return row


def training_passages(files: Sequence[Path], sizes: Sequence[int], seed: int) -> Iterator[str]:
    """All passages but the held-out ones, epoch after epoch, each in another order."""
    for epoch in count():
        empty = True
        for text in passages(files, sizes, [seed, epoch]):
            if not is_held_out(text):
                empty = False
                yield text
        if empty:
            raise TrainingError(f"there is no text to train on in {', '.join(map(str, files))}")


def batches(
    text: Iterable[str], tokenizer: Tokenizer, settings: Pretraining, labels: Sequence[str] = ()
) -> Iterator[Batch]:
    """Passages → batches of `settings.batch_tokens` tokens or a sequence more.

    A passage longer than `settings.max_length` becomes several sequences, each with the label of the passage. Sequences
    for POOL batches are sorted by length, so that attention's padding is little, and the batches shuffled.
    """
    room = settings.max_length - tokenizer.template.added()
    order = random.Random(settings.seed)
    pool: Batch = []
    size = 0
    for passage in text:
        label, tab, rest = passage.partition("\t")
        number = labels.index(label) if tab and label in labels else NO_LABEL
        ids = tokenizer.ids_of(passage if number == NO_LABEL else rest)
        for start in range(0, len(ids), room):
            sequence = np.array(tokenizer.template.around(ids[start : start + room]))
            pool.append(Sample(sequence, np.zeros_like(sequence), number))
            size += len(sequence)
        if size >= POOL * settings.batch_tokens:
            yield from batches_of_pool(pool, settings.batch_tokens, order)
            pool, size = [], 0
    yield from batches_of_pool(pool, settings.batch_tokens, order)


def batches_of_pool(pool: Batch, batch_tokens: int, order: random.Random) -> list[Batch]:
    """Sequences → batches of about equally long ones, in random order."""
    order.shuffle(pool)  # the order of equally long ones
    parts: list[Batch] = []
    size = batch_tokens
    for sequence in sorted(pool, key=lambda sequence: len(sequence.ids)):
        if size >= batch_tokens:
            parts.append([])
            size = 0
        parts[-1].append(sequence)
        size += len(sequence.ids)
    order.shuffle(parts)
    return parts
