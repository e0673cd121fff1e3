"""Labelled texts in figures, before anything is trained: lengths, labels, unknown tokens, votes, examples.

Letters: n examples of a split.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...data.dataset import SPLITS, Dataset, Example, Span
from ...tokenize.tokenizer import Tokenizer
from ...weights.architectures import read_config
from ...weights.files import read_json
from ...weights.load import from_position_0

FENCE = 3.0  # interquartile ranges beyond the quartiles: "far out" in Tukey, Exploratory Data Analysis, 1977, ch. 2
EXAMPLES = 10
CUTS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)


class Labels(NamedTuple):
    """What the labels are, as names to be counted or as numbers."""

    title: str
    values: dict[str, list[Any]]  # split → the names or numbers of all of its examples
    order: tuple[str, ...]  # of the names; empty for numbers
    texts: dict[str, int]  # split → examples, of which a text may have several labels or none
    several: bool = False  # whether it may


class Unknown(NamedTuple):
    """The tokens of a split that the vocabulary lacks."""

    tokens: int  # of the texts' own
    unknown: int
    texts: int  # examples that have one


@dataclass(frozen=True)
class Agreement:
    """How far judges agree, of the examples with two votes or more."""

    n: int
    judges: float  # votes for an example, on average
    unanimous: float
    top: float  # share of the votes for the label of most votes, on average
    kappa: (
        float | None
    )  # Fleiss 1971, "Measuring nominal scale agreement among many raters"; None where all votes agree
    outvoted: int  # examples of which another label than their own got the most votes
    tied: int  # examples of which several labels got the most votes
    of_labels: dict[str, tuple[int, float]]  # label → examples, and the share of unanimous ones


@dataclass(frozen=True)
class Survey:
    """The data, and what was found in them."""

    data: Dataset
    model: str  # whose tokenizer it was
    room: int | None  # tokens that the model reads
    lengths: dict[str, np.ndarray]  # split → (n,) tokens of each example, of its longest sequence
    fence: tuple[float, float]  # a length outside is an outlier
    outliers: list[tuple[Example, int]]  # the farthest first
    labels: Labels | None  # None where there are none
    unknown: dict[str, Unknown]
    unknown_texts: Counter[str]  # the stretches of text that gave unknown tokens
    votes: Agreement | None
    examples: list[Example]  # drawn at random
    seed: int
    remarks: list[str]
    separate: bool = False  # as in Task

    @property
    def windows(self) -> bool:
        """Whether the tasks for such labels read long texts in windows, and cut nothing."""
        return any(isinstance(e.label, tuple) and isinstance((*e.label, None)[0], Span) for e in self.data.examples)

    def cut(self, limit: int) -> dict[str, tuple[float, float]]:
        """Split → the share of examples longer than `limit` tokens, and of all tokens that lie behind it."""
        return {
            split: (float((own > limit).mean()), float((own - own.clip(max=limit)).sum() / own.sum()))
            for split, own in self.lengths.items()
        }

    def limits(self, asked: int | None = None) -> list[int]:
        """Lengths worth a row: the usual ones, up to the first that cuts nothing or all that the model reads."""
        longest = max(int(own.max()) for own in self.lengths.values())
        room = self.room or max(CUTS)
        usual = [limit for limit in CUTS if limit <= room and (limit < longest or limit == first_above(longest))]
        return sorted({*usual, *([room] if longest > room else []), *([asked] if asked else [])})


def first_above(longest: int) -> int | None:
    return next((limit for limit in CUTS if limit >= longest), None)


def survey(
    data: Dataset,
    tokenizer: Tokenizer,
    model: str,
    room: int | None = None,
    seed: int = 0,
    remarks: Iterable[str] = (),
    separate: bool = False,
) -> Survey:
    """Look through some data with the tokenizer of a model that reads `room` tokens; examples are drawn by the seed.

    separate: as in Task.
    """
    read = Pieces(tokenizer, data.examples, separate)
    of_splits = {split: [e for e in data.examples if e.split == split] for split in SPLITS}
    of_splits = {split: some for split, some in of_splits.items() if some}
    lengths = {split: np.array([read.length(e) for e in some]) for split, some in of_splits.items()}
    fence = fence_of(np.concatenate(list(lengths.values())))
    every = [
        (e, int(length)) for split, some in of_splits.items() for e, length in zip(some, lengths[split], strict=True)
    ]
    outside = [(e, length) for e, length in every if not fence[0] <= length <= fence[1]]
    drawn = random.Random(seed).sample(data.examples, min(EXAMPLES, len(data.examples)))
    empty = [split for split in SPLITS if split not in of_splits]
    told = [
        f"no {split} split"
        for split in empty
        if not any(note.endswith((f"no {split}", f"no {split} split")) for note in data.notes)
    ]
    return Survey(
        data, model, room, lengths, fence,
        sorted(outside, key=lambda one: -max(one[1] - fence[1], fence[0] - one[1])),
        labels_of(of_splits, data.labels), {split: read.unknown(some) for split, some in of_splits.items()},
        read.unknown_texts(), agreement(data.examples), drawn, seed, [*remarks, *told], separate,
    )  # fmt: skip


def room_of(folder: Path, tokenizer: Tokenizer, model: str = "") -> int | None:
    """How many tokens the model in a folder reads, which may have a name; None where nothing there says it."""
    if (folder / "config.json").is_file():
        with suppress(ValueError):  # an architecture that is not known here may have a tokenizer that is
            settings = read_json(folder / "config.json")
            _, config, _ = read_config(settings)
            first = 0 if from_position_0(folder, settings, model) else getattr(config, "first_position", 0)
            return config.max_position_embeddings - first
    return tokenizer.model_max_length


# --- tokens -----------------------------------------------------------------------------------------------------


def texts_of(example: Example) -> list[str]:
    """All texts of an example: its own, the second one, the choices."""
    return [example.text, *([] if example.pair is None else [example.pair]), *(example.choices or ())]


class Pieces:
    """The tokens of all texts of some examples, each text tokenized once."""

    def __init__(self, tokenizer: Tokenizer, examples: Sequence[Example], separate: bool = False) -> None:
        self.tokenizer, self.separate = tokenizer, separate
        self.occurrences = Counter(text for example in examples for text in texts_of(example))
        ids = tokenizer.ids_of_many(list(self.occurrences))
        found = [(len(own), own.count(tokenizer.unk_id)) for own in map(list, ids)]
        self.counts = dict(zip(self.occurrences, found, strict=True))  # text → tokens, unknown tokens

    def length(self, example: Example) -> int:
        """Tokens of its one sequence, or of the longest of several, special tokens counted."""
        if self.separate:
            longest = max(self.counts[text][0] for text in texts_of(example))
            return longest + self.tokenizer.template.added(False)
        others = [example.pair] if example.choices is None else [*example.choices]
        paired = others != [None]
        most = max(self.counts[other][0] if other is not None else 0 for other in others)
        return self.counts[example.text][0] + most + self.tokenizer.template.added(paired)

    def unknown(self, examples: Sequence[Example]) -> Unknown:
        counts = [[self.counts[text] for text in texts_of(example)] for example in examples]
        tokens, unknown = (sum(count[k] for own in counts for count in own) for k in (0, 1))
        return Unknown(tokens, unknown, sum(any(count[1] for count in own) for own in counts))

    def unknown_texts(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for text in [text for text, (_, unknown) in self.counts.items() if unknown]:
            for piece in self.tokenizer.tokens_of(text):
                if piece.id == self.tokenizer.unk_id:
                    found[text[piece.start : piece.end]] += self.occurrences[text]
        return found


def fence_of(lengths: np.ndarray) -> tuple[float, float]:
    """(n,) lengths → the shortest and the longest that are no outliers, each a token or more away from its quartile."""
    low, high = np.quantile(lengths, (0.25, 0.75))
    room = max(FENCE * (high - low), 1.0)
    return float(low - room), float(high + room)


# --- labels -----------------------------------------------------------------------------------------------------


def choice(label: Any, example: Example) -> list[str]:
    return [str(label)]


# Kind of a label → title, what of a label is counted, whether that are names, whether there may be several of a text.
Kind = tuple[str, Callable[[Any, Example], list[Any]], bool, bool]
KINDS: dict[str, Kind] = {
    "name": ("classes", lambda label, _: [label], True, False),
    "names": ("labels (a text may have several)", lambda label, _: list(label), True, True),
    "number": ("scores", lambda label, _: [float(label)], False, False),
    "choice": ("which choice is right, from 0", choice, True, False),
    "entity": ("entities by kind", lambda label, _: [span.kind for span in label], True, True),
    "answer": ("characters of an answer", lambda label, _: [span.end - span.start for span in label], False, True),
}


def kind_of(examples: Iterable[Example]) -> str | None:
    """A key of KINDS for examples of one kind of label; None where they have no labels."""
    for example in examples:
        label = example.label
        if example.choices is not None and isinstance(label, int):
            return "choice"
        if isinstance(label, tuple) and label:
            spans = isinstance(label[0], Span)
            return ("entity" if label[0].kind else "answer") if spans else "names"
        if label is not None and not isinstance(label, tuple):
            return "name" if isinstance(label, str) else "number"
    return None


def labels_of(of_splits: dict[str, list[Example]], classes: Sequence[str]) -> Labels | None:
    """The labels of each split; names in the order of the classes, or from the most frequent on."""
    kind = kind_of(e for some in of_splits.values() for e in some)
    if kind is None:
        return None
    title, take, named, several = KINDS[kind]
    values = {split: [v for e in some for v in take(e.label, e)] for split, some in of_splits.items()}
    order: tuple[str, ...] = ()
    if named:
        counts = Counter(name for own in values.values() for name in own)
        known = [name for name in classes if kind != "choice"]
        widest = max((len(e.choices or ()) for some in of_splits.values() for e in some), default=0)
        known += [str(number) for number in range(widest)] if kind == "choice" else []
        order = tuple(dict.fromkeys([*known, *(name for name, _ in counts.most_common())]))
    return Labels(title, values, order, {split: len(some) for split, some in of_splits.items()}, several)


# --- votes ------------------------------------------------------------------------------------------------------


def agreement(examples: Sequence[Example]) -> Agreement | None:
    """How far the judges agree; None where no example has two votes."""
    voted = [(e.label, Counter({str(name): n for name, n in (e.votes or {}).items() if n})) for e in examples]
    voted = [(label, votes) for label, votes in voted if votes.total() > 1]
    if not voted:
        return None
    # Pairs of judges that agree, of all pairs of one example; and what would be expected of judges who draw lots.
    agreeing = [sum(n * (n - 1) for n in votes.values()) / (votes.total() * (votes.total() - 1)) for _, votes in voted]
    every = sum((votes for _, votes in voted), Counter[str]())
    lots = sum((n / every.total()) ** 2 for n in every.values())
    unanimous = [len(votes) == 1 for _, votes in voted]
    of_labels = {}
    for name in dict.fromkeys(str(label) for label, _ in voted if isinstance(label, str)):
        own = [one for one, (label, _) in zip(unanimous, voted, strict=True) if label == name]
        of_labels[name] = (len(own), sum(own) / len(own))
    return Agreement(
        n=len(voted), judges=every.total() / len(voted), unanimous=sum(unanimous) / len(voted),
        top=sum(max(votes.values()) / votes.total() for _, votes in voted) / len(voted),
        kappa=None if lots == 1 else (sum(agreeing) / len(voted) - lots) / (1 - lots),
        outvoted=sum(isinstance(label, str) and votes[label] < max(votes.values()) for label, votes in voted),
        tied=sum(list(votes.values()).count(max(votes.values())) > 1 for _, votes in voted),
        of_labels=of_labels,
    )  # fmt: skip
