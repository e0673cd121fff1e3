"""Masked-language-model pretraining, in one function to be read from top to bottom.

From scratch, or going on from any checkpoint on the texts of a domain (Gururangan et al. 2020, arXiv:2004.10964:
domain- and task-adaptive pretraining).

Letters: T tokens in a packed batch, M of them to be guessed, V vocabulary.
"""

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ..data.passages import count_lines, is_held_out, passages
from ..model.heads import BertMaskedLM
from ..model.packing import pack
from ..model.precision import autocast, choose_precision
from ..tokenize.encoding import EncodedText
from ..tokenize.japanese import JapaneseTokenizer
from .checkpoint import load_checkpoint, save_checkpoint
from .loop import TrainingError
from .masking import Masker
from .optimizer import adamw, learning_rate
from .settings import Pretraining

HELD_OUT_BATCHES = 32  # how much of the held-out passages is looked at
POOL = 16  # batches whose sequences are sorted together
Batch = list[EncodedText]


@dataclass
class Progress:
    """How far a run has come."""

    step: int = 0
    tokens: int = 0  # seen, each as often as it was seen
    rows: list[dict[str, Any]] = field(default_factory=list)  # of log.csv


def pretrain(
    model: BertMaskedLM,
    tokenizer: JapaneseTokenizer,
    files: Sequence[Path],
    settings: Pretraining,
    checkpoints: Path,
    resume: bool = False,
) -> Iterator[dict[str, Any]]:
    """Train a model to guess masked words; a generator of one row of the log after every `settings.look_every` steps.

    Args:
        model: on the device to train on.
        files: texts, one passage a line, plain or .gz; one passage in five hundred is held out for validation.
        checkpoints: folder for a checkpoint with every row.
        resume: go on from the checkpoint that is there, with the batch after the last one seen. On a CPU the end is bit
            for bit that of an unbroken run.

    Raises:
        TrainingError: the loss is no longer a finite number, or there is no text to train on.
    """
    device = next(model.parameters()).device
    precision = choose_precision(settings.precision, device)
    optimizer = adamw(model, settings)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    masker = Masker.of(tokenizer, settings.mask_rate)
    sizes = [count_lines(path) for path in files]
    held_out_text = (text for text in passages(files, sizes, 0) if is_held_out(text))
    held_out = list(islice(batches(held_out_text, tokenizer, settings), HELD_OUT_BATCHES))
    progress = Progress()
    if resume:
        progress = Progress(**load_checkpoint(checkpoints, model, optimizer, scaler))
    yield from progress.rows

    text = training_passages(files, sizes, settings.seed)
    source = islice(batches(text, tokenizer, settings), progress.step, None)  # those before a stop are passed over
    with tqdm(total=settings.steps, initial=progress.step, desc="pretraining", unit="step", disable=None) as bar:
        while progress.step < settings.steps:
            model.train()
            losses, tokens, started = [], 0, time.perf_counter()
            for step in range(progress.step, min(progress.step + settings.look_every, settings.steps)):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(step, settings.steps, settings)
                batch = next(source)
                loss, _, _ = masked_loss(model, batch, masker, np.random.default_rng([settings.seed, step]), precision)
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
                losses.append(loss.detach())
                tokens += sum(len(sequence.ids) for sequence in batch)
                bar.update()

            seconds = time.perf_counter() - started
            train_loss = float(torch.stack(losses).mean())
            if not np.isfinite(train_loss):
                raise TrainingError(
                    f"the loss is {train_loss} before step {step + 1}; likely lr {settings.lr:g} is too high"
                )
            progress.step, progress.tokens = step + 1, progress.tokens + tokens
            row = {
                "step": progress.step,
                "tokens": progress.tokens,
                "lr": optimizer.param_groups[0]["lr"],
                "train_loss": train_loss,
                **look(model, held_out, masker, precision),
                "tokens_per_second": tokens / seconds,
            }
            bar.set_postfix(loss=f"{train_loss:.3f}", tokens_per_second=f"{tokens / seconds:.0f}")
            progress.rows.append(row)
            save_checkpoint(checkpoints, vars(progress), model, optimizer, scaler)
            yield row
    model.eval()


def masked_loss(
    model: BertMaskedLM, batch: Batch, masker: Masker, rng: np.random.Generator, precision: torch.dtype
) -> tuple[Tensor, Tensor, int]:
    """The mean loss of a batch's masked tokens, how many of them were guessed right, and how many there are.

    Only those tokens go through the head: V scores for each of all T would be most of the work.
    """
    device = next(model.parameters()).device
    packed = pack(batch)
    shown, at, targets = masker(packed.ids.numpy(), rng)
    packed.ids = torch.from_numpy(shown)
    wanted = torch.from_numpy(targets).to(device)
    with autocast(device, precision):
        logits = model(packed.to(device), at=torch.from_numpy(at).to(device)).logits  # (M, V)
    loss = F.cross_entropy(logits.float(), wanted, reduction="sum") / max(1, len(at))
    return loss, (logits.argmax(dim=-1) == wanted).sum(), len(at)


@torch.inference_mode()
def look(
    model: BertMaskedLM, held_out: Sequence[Batch], masker: Masker, precision: torch.dtype
) -> dict[str, float | None]:
    """Loss and accuracy on the masked tokens of the held-out passages, the same masks at every look."""
    model.eval()
    loss, right, total = 0.0, 0, 0
    for number, batch in enumerate(held_out):
        mean, guessed, masked = masked_loss(model, batch, masker, np.random.default_rng([0, number]), precision)
        loss, right, total = loss + float(mean) * masked, right + int(guessed), total + masked
    return {"val_loss": loss / total if total else None, "val_accuracy": right / total if total else None}


def training_passages(files: Sequence[Path], sizes: Sequence[int], seed: int) -> Iterator[str]:
    """All passages but the held-out ones, again and again, in another order each time."""
    for epoch in count():
        empty = True
        for text in passages(files, sizes, [seed, epoch]):
            if not is_held_out(text):
                empty = False
                yield text
        if empty:
            raise TrainingError(f"there is no text to train on in {', '.join(map(str, files))}")


def batches(text: Iterable[str], tokenizer: JapaneseTokenizer, settings: Pretraining) -> Iterator[Batch]:
    """Passages → batches of `settings.batch_tokens` tokens or a sequence more.

    A passage longer than `settings.max_length` becomes several sequences. Sequences for POOL batches are gathered,
    sorted by length and cut into batches, which come in random order: attention pads to the longest of a batch.
    """
    room = settings.max_length - 2
    order = random.Random(settings.seed)
    pool: Batch = []
    size = 0
    for passage in text:
        ids = tokenizer.ids_of(passage)
        for start in range(0, len(ids), room):
            sequence = np.array([tokenizer.cls_id, *ids[start : start + room], tokenizer.sep_id])
            pool.append(EncodedText(sequence, np.zeros_like(sequence)))
            size += len(sequence)
        if size >= POOL * settings.batch_tokens:
            yield from cut(pool, settings.batch_tokens, order)
            pool, size = [], 0
    yield from cut(pool, settings.batch_tokens, order)


def cut(pool: Batch, batch_tokens: int, order: random.Random) -> list[Batch]:
    """Sequences → batches of about equally long ones, in random order."""
    order.shuffle(pool)  # so that equally long ones meet by chance
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
