"""Sequences of token ids for pretraining: from text, or from a file of ids; and batches of equally long ones.

Letters: B sequences, T tokens of all of them.
"""

import json
import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.dataset import DataError
from ..data.passages import count_lines, is_held_out, passages
from ..eval.runs import whole_file
from ..model.packing import places
from ..tokenize.tokenizer import Tokenizer
from ..weights.files import first_line

POOL = 16  # batches whose sequences are sorted together
NO_LABEL = -1
IDS = ".npz"  # the suffix of files of ids
AT_ONCE = 1024  # passages that the tokenizer gets together


class Sample(NamedTuple):
    """One sequence, and its class or NO_LABEL."""

    ids: np.ndarray
    type_ids: np.ndarray
    label: int


@dataclass(frozen=True)
class Sequences:
    """B sequences end to end."""

    ids: np.ndarray  # (T,)
    type_ids: np.ndarray  # (T,)
    lengths: np.ndarray  # (B,)
    labels: np.ndarray  # (B,)

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "Sequences":
        none = np.zeros(0, dtype=np.int64)
        return cls(
            ids=np.concatenate([none, *(sample.ids for sample in samples)]),
            type_ids=np.concatenate([none, *(sample.type_ids for sample in samples)]),
            lengths=np.array([len(sample.ids) for sample in samples], dtype=np.int64),
            labels=np.array([sample.label for sample in samples], dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[Sample]:
        ends = self.lengths.cumsum()
        for start, end, label in zip(ends - self.lengths, ends, self.labels, strict=True):
            yield Sample(self.ids[start:end], self.type_ids[start:end], int(label))

    def take(self, chosen: np.ndarray, starts: np.ndarray) -> "Sequences":
        """Some of them, by their numbers; (B,) starts say where each begins."""
        lengths = self.lengths[chosen]
        tokens = places(starts[chosen], lengths)
        ids, type_ids = (array[tokens].astype(np.int64) for array in (self.ids, self.type_ids))
        return Sequences(ids, type_ids, lengths, self.labels[chosen].astype(np.int64))


Batch = Sequences


def sequences_of(
    text: Iterable[str], tokenizer: Tokenizer, max_length: int, labels: Sequence[str] = ()
) -> Iterator[tuple[Sample, bool]]:
    """The sequences of each passage, and whether it is held out; they are as long as `max_length` at most.

    A longer passage becomes several, each with the label of the passage; a line may begin with one of `labels` and a
    tab.
    """
    room = max_length - tokenizer.template.added()
    lines = iter(text)
    while some := list(islice(lines, AT_ONCE)):
        numbers, bare = zip(*(without_label(line, labels) for line in some), strict=True)
        for passage, number, ids in zip(bare, numbers, tokenizer.ids_of_many(bare), strict=True):
            for start in range(0, len(ids), room):
                sequence = np.array(tokenizer.template.around(ids[start : start + room]))
                yield Sample(sequence, np.zeros_like(sequence), number), is_held_out(passage)


def without_label(line: str, labels: Sequence[str]) -> tuple[int, str]:
    """The number of the label that a line begins with, or NO_LABEL, and the passage."""
    label, tab, rest = line.partition("\t")
    return (labels.index(label), rest) if tab and label in labels else (NO_LABEL, line)


def batches(samples: Iterable[Sample], batch_tokens: int, seed: int) -> Iterator[Batch]:
    """Sequences → batches of `batch_tokens` tokens or a sequence more.

    Sequences for POOL batches are sorted by length, so that attention's padding is little, and the batches shuffled.
    """
    order = random.Random(seed)
    pool: list[Sample] = []
    size = 0
    for sample in samples:
        pool.append(sample)
        size += len(sample.ids)
        if size >= POOL * batch_tokens:
            yield from batches_of_pool(Sequences.of(pool), batch_tokens, order)
            pool, size = [], 0
    yield from batches_of_pool(Sequences.of(pool), batch_tokens, order)


def batches_of_pool(pool: Sequences, batch_tokens: int, order: random.Random) -> Iterator[Batch]:
    """Sequences → batches of about equally long ones, in random order."""
    mixed = list(range(len(pool)))
    order.shuffle(mixed)  # the order of equally long ones
    by_length = np.array(mixed, dtype=np.int64)
    by_length = by_length[np.argsort(pool.lengths[by_length], kind="stable")]
    ends = pool.lengths[by_length].cumsum()
    parts, start = [], 0
    while start < len(pool):
        before = ends[start - 1] if start else 0
        end = int(np.searchsorted(ends, before + batch_tokens)) + 1
        parts.append(by_length[start:end])
        start = end
    order.shuffle(parts)
    starts = pool.lengths.cumsum() - pool.lengths
    yield from (pool.take(part, starts) for part in parts)


class Corpus(NamedTuple):
    """What a model learns from, and what it is judged by."""

    training: Iterator[Batch]  # without end
    held_out: Iterator[Batch]


def corpus_of(
    files: Sequence[Path], tokenizer: Tokenizer, max_length: int, batch_tokens: int, seed: int, labels: Sequence[str]
) -> Corpus:
    """Of files with a passage a line, or of files of ids; DataError for a mixture of both."""
    of_ids_too = {file.suffix == IDS for file in files}
    if len(of_ids_too) > 1:
        raise DataError(f"some files are texts and some are ids ({IDS}): encode them all, or none")
    return (of_ids if of_ids_too == {True} else of_text)(files, tokenizer, max_length, batch_tokens, seed, labels)


def of_text(
    files: Sequence[Path], tokenizer: Tokenizer, max_length: int, batch_tokens: int, seed: int, labels: Sequence[str]
) -> Corpus:
    """Files with a passage a line, read and tokenized as they are needed."""
    sizes = [count_lines(path) for path in files]
    once = dict(zip(files, sizes, strict=True))  # a file that is given twice counts once among those held out

    def training() -> Iterator[Sample]:
        for epoch in count():  # each in another order
            empty = True
            for sample, held_out in sequences_of(passages(files, sizes, [seed, epoch]), tokenizer, max_length, labels):
                if not held_out:
                    empty = False
                    yield sample
            if empty:
                raise nothing_in(files)

    lines = passages(list(once), list(once.values()), 0)
    others = (line for line in lines if is_held_out(without_label(line, labels)[1]))
    held_out = (sample for sample, _ in sequences_of(others, tokenizer, max_length, labels))
    return Corpus(batches(training(), batch_tokens, seed), batches(held_out, batch_tokens, seed))


def write_ids(file: Path, text: Iterable[str], tokenizer: Tokenizer, max_length: int, labels: Sequence[str]) -> int:
    """Tokenize passages into a file for `of_ids`; returns the number of tokens."""
    small = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    parts: list[dict[str, np.ndarray]] = []
    found = sequences_of(text, tokenizer, max_length, labels)
    while some := list(islice(found, 100 * AT_ONCE)):
        samples, held_out = zip(*some, strict=True)
        part = Sequences.of(samples)
        parts.append(
            {
                "ids": part.ids.astype(small),
                "lengths": part.lengths.astype(np.int32),
                "labels": part.labels.astype(np.int32),
                "held_out": np.array(held_out),
            }
        )
    if not parts:
        raise DataError(f"there is no text to write to {file}")
    whole: dict[str, Any] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    with whole_file(file) as target:
        np.savez_compressed(target, **whole, about=np.array(json.dumps(about(tokenizer, max_length, labels))))
    return len(whole["ids"])


def about(tokenizer: Tokenizer, max_length: int, labels: Sequence[str]) -> dict[str, object]:
    """What a file of ids is good for."""
    words = zlib.crc32("\n".join(tokenizer.vocabulary).encode("utf-8", "surrogatepass"))
    return {"vocabulary": words, "max_length": max_length, "labels": list(labels)}


def of_ids(
    files: Sequence[Path], tokenizer: Tokenizer, max_length: int, batch_tokens: int, seed: int, labels: Sequence[str]
) -> Corpus:
    """Files that `write_ids` made, whole in memory: what a GPU needs, which learns faster than a tokenizer reads."""
    wanted = about(tokenizer, max_length, labels)
    found = {file: read_ids(file, wanted) for file in dict.fromkeys(files)}
    every, held_out = joined(list(found.values()))
    starts = every.lengths.cumsum() - every.lengths
    times = np.repeat([files.count(file) for file in found], [len(one) for one, _ in found.values()])
    kept = np.arange(len(every)).repeat(times * ~held_out)

    def training() -> Iterator[Batch]:
        if not len(kept):
            raise nothing_in(files)
        order = random.Random(seed)
        for epoch in count():
            mixed = np.random.default_rng([seed, epoch]).permutation(kept)
            pools = every.lengths[mixed].cumsum() // (POOL * batch_tokens)
            for chosen in np.split(mixed, np.flatnonzero(np.diff(pools)) + 1):
                yield from batches_of_pool(every.take(chosen, starts), batch_tokens, order)

    others = every.take(np.flatnonzero(held_out), starts)
    return Corpus(training(), batches(others, batch_tokens, seed))


def read_ids(file: Path, wanted: dict[str, object]) -> tuple[Sequences, np.ndarray]:
    """(B,) sequences and whether each is held out; DataError where the file is not as `wanted`."""
    try:
        with np.load(file, allow_pickle=False) as found:
            made = dict(json.loads(str(found["about"])))
            ids, lengths, labels, held_out = (found[name] for name in ("ids", "lengths", "labels", "held_out"))
    except Exception as error:  # numpy and zipfile raise many kinds
        why = first_line(error)
        raise DataError(f"{file} is no file of token ids ({why}): make it with tezukuri encode") from error
    for name, value in wanted.items():
        if made.get(name) != value:
            what = "another vocabulary" if name == "vocabulary" else f"{name} {made.get(name)}, not {value}"
            raise DataError(f"{file} was made with {what}: make it anew with tezukuri encode")
    return Sequences(ids, np.zeros(len(ids), dtype=np.uint8), lengths.astype(np.int64), labels), held_out


def joined(parts: Sequence[tuple[Sequences, np.ndarray]]) -> tuple[Sequences, np.ndarray]:
    every = Sequences(*(np.concatenate([vars(one)[name] for one, _ in parts]) for name in vars(parts[0][0])))
    return every, np.concatenate([held_out for _, held_out in parts])


def nothing_in(files: Sequence[Path]) -> DataError:
    return DataError(f"there is no text to train on in {', '.join(map(str, files))}")
