"""What every reader returns: examples, the names of their classes, and the rows that are none."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SPLITS = ("train", "dev", "test")


class DataError(ValueError):
    """Data that cannot be used."""


class Span(NamedTuple):
    """A stretch of a text, in characters: text[start:end]."""

    start: int
    end: int
    kind: str = ""  # of an entity


class Found(Span):
    """A stretch that a model has found; it is equal to the Span of the same place and kind."""

    probability: float = 1.0

    @classmethod
    def of(cls, start: int, end: int, kind: str, probability: float) -> "Found":
        found = cls(start, end, kind)
        found.probability = probability
        return found

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, probability={self.probability:.4f})"


@dataclass(frozen=True)
class Example:
    """One labelled text.

    The label is the name of a class; a number (float); a tuple of names; the number of a choice (int, from 0); a tuple
    of Spans: all entities of `text`, or all answers to the question `text` that are right, in `pair`, the context; or
    None, where nobody has said one.
    """

    id: str
    text: str
    label: Any
    split: str  # "train", "dev" or "test"; "" until it is drawn
    votes: dict[str, int] | None = None  # label name -> number of judges who chose it, where the corpus has votes
    pair: str | None = None  # the second text, where the task is about two
    choices: tuple[str, ...] | None = None  # the answers to choose from, where the task is that

    @property
    def content(self) -> str:
        """The text; of a pair the two, and of a question its choices too, each on a line of its own."""
        return "\n".join([self.text, *([] if self.pair is None else [self.pair]), *(self.choices or ())])


@dataclass(frozen=True)
class BadRow:
    """A row that is no example."""

    file: str
    line: int  # from 1
    reason: str
    raw: str  # the row itself, shortened

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}: {self.raw!r}"


def hash_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@dataclass
class Dataset:
    """A corpus. Class c of the model is `labels[c]`."""

    name: str
    labels: tuple[str, ...]
    examples: list[Example]
    bad_rows: list[BadRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what the reader decided by itself
    named: bool = True  # whether `labels` were named, not only found beside the texts
    drawn: bool = False  # the data has no splits: those of the examples were drawn at random
    task: str = "classify"  # what the labels are for

    def __repr__(self) -> str:
        sizes = Counter(example.split for example in self.examples)
        return f"Dataset({self.name!r}, {', '.join(f'{split} {n}' for split, n in sizes.items())})"

    @property
    def sha256(self) -> str:
        """Of ids, texts, labels and splits, in 64 hexadecimal digits."""
        return hash_of([[e.id, e.content, str(e.label), e.split] for e in self.examples])

    @property
    def hashes(self) -> dict[str, str]:
        """Of all that a run depends on: `sha256`, and that of the judges' votes, empty where there are none."""
        votes = [sorted(e.votes.items()) if e.votes else None for e in self.examples]
        return {"sha256": self.sha256, "votes": hash_of(votes) if any(votes) else ""}

    def differs_from(self, told: Mapping[str, Any]) -> bool:
        """Whether these are other data than those of the hashes; what is not told is taken to be the same."""
        return any(told.get(name, own) != own for name, own in self.hashes.items())

    def split(self, name: str) -> list[Example]:
        """The examples of one split, in the order of the file; DataError where there are none."""
        chosen = [example for example in self.examples if example.split == name]
        if not chosen:
            sizes = Counter(example.split for example in self.examples)
            there = ", ".join(f"{split} ({sizes[split]})" for split in SPLITS if sizes[split])
            raise DataError(f"{self.name} has no examples in split {name!r}; its splits are {there or 'all empty'}")
        return chosen
