"""The named entities of a text: stretches of it, each of a kind.

Each token has a tag (Ramshaw and Marcus 1995, arXiv:cmp-lg/9505040): B-kind for the first of an entity, I-kind for its
others, O for all else. The answer is the likeliest row of tags in which no I-kind stands but after B-kind or I-kind, by
the algorithm of Viterbi (1967); no transition is learned. Entities are right where start, end and kind are, in
characters of the original text, and are counted as seqeval and CoNLL do (Tjong Kim Sang and De Meulder 2003,
arXiv:cs/0306050).

Letters: n texts, W windows, S tokens of the longest window or text, K tokens of all texts, C tags.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np

from ...data.dataset import SPLITS, Dataset, Example, Found, Span
from ...model.heads import TagHead
from .metrics import softmax
from .tokens import Placed, TokenLogits, TokenTask, Windows, each_once, trimmed

OUTSIDE, NONE = "O", -1
AT_ONCE = 1 << 16  # tokens, and the rests of their rows, that Viterbi goes through together
OTHER_SCHEMES = ("E-", "S-", "L-", "U-")


class Part(NamedTuple):
    """What a tag says of its token."""

    kind: str  # "" outside of entities
    begins: bool  # an entity begins here
    free: bool  # it may stand where no entity of its kind goes on


def part_of(tag: str, tags: Sequence[str]) -> Part:
    """`I-kind` where no tag is `B-kind`, and a bare `kind`, may begin an entity too, as in models on the hub."""
    if tag == OUTSIDE:
        return Part("", False, True)
    if tag.startswith(OTHER_SCHEMES) and f"I-{tag[2:]}" in tags:
        raise ValueError(f"the model has the tag {tag!r}: of the schemes for entities only B, I and O are known here")
    kind = tag[2:] if tag.startswith(("B-", "I-")) else tag
    begins = tag.startswith("B-")
    return Part(kind, begins, begins or f"B-{kind}" not in tags)


class Tag(TokenTask):
    name = "tag"
    head = TagHead
    best = "micro_f1"
    labels_are = "entities"

    def __init__(self, labels: Sequence[str]) -> None:
        """ValueError where the labels are no tags of entities."""
        super().__init__(labels)
        if OUTSIDE not in self.labels or len(self.labels) < 2:
            raise ValueError(f"tags of entities are O, B-kind and I-kind, and this model has {', '.join(self.labels)}")
        self.parts_of_tags = [part_of(tag, self.labels) for tag in self.labels]
        self.kinds = tuple(dict.fromkeys(part.kind for part in self.parts_of_tags if part.kind))

    @staticmethod
    def fits(label: Any) -> bool:
        return isinstance(label, tuple) and all(isinstance(span, Span) and span.kind for span in label)

    @classmethod
    def of(cls, data: Dataset) -> Self:
        if paired := next((e for e in data.examples if e.pair is not None), None):
            raise ValueError(f"{data.name} has pairs ({paired.id!r}), and entities are those of single texts")
        if not data.labels or not any(e.label for e in data.split("train")):
            raise ValueError(f"no training text of {data.name} has an entity: there is nothing to learn")
        return cls([OUTSIDE, *(f"{mark}-{kind}" for kind in data.labels for mark in "BI")])

    def notes(self, data: Dataset, splits: Sequence[str] = SPLITS) -> list[str]:
        told = []
        learned = {span.kind for e in data.examples if e.split == "train" for span in e.label}
        if learned and "train" in splits and (absent := [kind for kind in self.kinds if kind not in learned]):
            told.append(f"kinds without an entity in train: {', '.join(map(repr, absent))}: they cannot be learned")
        for split in splits:
            counts = Counter(span.kind for e in data.examples if e.split == split for span in e.label)
            if unknown := [f"{kind!r} ({n})" for kind, n in counts.items() if kind not in self.kinds]:
                told.append(f"kinds that the model does not have count as missed in {split}: {', '.join(unknown)}")
        return told

    def laid(self, targets: Sequence[Example], encodings: Windows) -> np.ndarray:
        """(W, S) the number of each token's tag; NONE for special tokens, and of kinds that there are no tags for.

        A token that touches an entity has its tag; one that touches two has that of the first.
        """
        longest = int(np.diff(encodings.boundaries).max(initial=0))
        rows = np.full((len(encodings), longest), NONE, dtype=np.float32)
        numbers = {tag: number for number, tag in enumerate(self.labels)}
        for window, number in enumerate(encodings.owners):
            starts, ends = encodings.offsets_in(window).T
            row = np.full(len(starts), numbers[OUTSIDE])
            row[starts == ends] = NONE
            for span in targets[number].label:
                touched = np.flatnonzero((starts < span.end) & (ends > span.start) & (row == numbers[OUTSIDE]))
                if not len(touched):
                    continue
                inside = numbers.get(f"I-{span.kind}", numbers.get(span.kind, NONE))
                row[touched] = inside
                first = touched[0]
                if first or not encodings.begins[window] or starts[first] <= span.start:  # not in a window before
                    row[first] = numbers.get(f"B-{span.kind}", inside)
            place = encodings.places[window]
            rows[window, place : place + len(row)] = row
        return rows

    def summary(self, targets: Sequence[Example], encodings: Windows) -> str:
        """How many entities there are, and how many of them no row of tags can tell."""
        gold = each_once(self.laid(targets, encodings), encodings)
        tags = gold.rows.astype(int)
        there = tags != NONE
        found = self.entities(Placed(gold.owners[there], gold.offsets[there], tags[there]), encodings.texts)
        known = [{span for span in e.label if span.kind in self.kinds} for e in targets]
        lost = sum(len(own - set(some)) for own, some in zip(known, found, strict=True))
        beyond = f"; {lost} of them begin or end inside a token, and cannot be told exactly" if lost else ""
        return f" ({sum(len(e.label) for e in targets)} entities{beyond})"

    def answers(self, logits: TokenLogits) -> list[tuple[Span, ...]]:
        """All entities of each text, with their probabilities: the products of those of their tokens' tags."""
        placed = each_once(logits.rows, logits.windows)
        shares = softmax(placed.rows)  # (K, C)
        lengths = np.bincount(placed.owners, minlength=len(logits))
        tags = best_tags(np.log(shares.clip(min=1e-300)), lengths, self.transitions(), self.may_begin())
        told = shares[np.arange(len(tags)), tags]
        return self.entities(placed._replace(rows=tags), logits.windows.texts, told)

    def may_begin(self) -> np.ndarray:
        """(C,) bool, which tags a text may begin with."""
        return np.array([part.free for part in self.parts_of_tags])

    def transitions(self) -> np.ndarray:
        """(C, C) bool, which tag (column) may follow which (row)."""
        goes_on = [[one.kind == other.kind for other in self.parts_of_tags] for one in self.parts_of_tags]
        return np.array(goes_on) | self.may_begin()

    def entities(self, placed: Placed, texts: Sequence[str], told: np.ndarray | None = None) -> list[tuple[Span, ...]]:
        """(K,) tags of the tokens of n texts, and the probabilities of these → the entities of each text.

        None begins or ends with white space, or before the one before it ends.
        """
        found: list[list[Span]] = [[] for _ in texts]
        kinds = np.array([bool(part.kind) for part in self.parts_of_tags])
        at = np.flatnonzero(kinds[placed.rows])
        parts = [self.parts_of_tags[tag] for tag in placed.rows[at]]
        begins = [
            i == 0
            or at[i] != at[i - 1] + 1
            or part.begins
            or part.kind != parts[i - 1].kind
            or placed.owners[at[i]] != placed.owners[at[i - 1]]
            for i, part in enumerate(parts)
        ]
        edges = [*np.flatnonzero(begins).tolist(), len(at)]
        for first, last in pairwise(edges):
            tokens = at[first:last]
            owner, offsets = int(placed.owners[tokens[0]]), placed.offsets[tokens]
            before = found[owner][-1].end if found[owner] else 0
            stretch = trimmed(texts[owner], max(before, int(offsets[:, 0].min())), int(offsets[:, 1].max()))
            if stretch:
                probability = 1.0 if told is None else float(told[tokens].prod())
                found[owner].append(Found.of(*stretch, parts[first].kind, probability))
        return [tuple(spans) for spans in found]

    def measure(self, logits: TokenLogits, targets: Sequence[Example]) -> dict[str, float]:
        """The cross-entropy of a token; precision, recall and F1 of all entities, and the mean of the F1 of the kinds
        that are there or told (macro)."""
        if not len(targets):
            raise ValueError("nothing to measure: there is no example")
        gold = self.laid(targets, logits.windows).astype(int)
        there = gold != NONE
        shares = logits.rows[there].astype(np.float64)  # (·, C)
        shares -= shares.max(axis=1, keepdims=True)
        losses = np.log(np.exp(shares).sum(axis=1)) - shares[np.arange(len(shares)), gold[there]]
        counts = counts_by_kind([e.label for e in targets], self.answers(logits))
        whole = Counts(*np.sum([*counts.values(), Counts(0, 0, 0)], axis=0).tolist())
        return {
            "loss": float(losses.mean()) if len(losses) else 0.0,
            "precision": whole.precision,
            "recall": whole.recall,
            "micro_f1": whole.f1,
            "macro_f1": float(np.mean([one.f1 for one in counts.values()])) if counts else 0.0,
        }


class Counts(NamedTuple):
    """How many entities are there, were told, and were told rightly."""

    gold: int
    told: int
    right: int

    @property
    def precision(self) -> float:
        return self.right / self.told if self.told else 0.0

    @property
    def recall(self) -> float:
        return self.right / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.gold + self.told) if self.right else 0.0


def counts_by_kind(gold: Sequence[Sequence[Span]], told: Sequence[Sequence[Span]]) -> dict[str, Counts]:
    """Entities of n texts, and those that a model told → kind → counts, in the order of their number."""
    there, found, right = (Counter[str]() for _ in range(3))
    for own, some in zip(gold, told, strict=True):
        there.update(span.kind for span in own)
        found.update(span.kind for span in some)
        right.update(span.kind for span in set(own) & set(some))
    kinds = [kind for kind, _ in there.most_common()]
    kinds += [kind for kind, _ in found.most_common() if kind not in there]
    return {kind: Counts(there[kind], found[kind], right[kind]) for kind in kinds}


class Mistake(NamedTuple):
    """What became of an entity, and of what kind it and what was told are; "" for none."""

    what: str  # `another kind` in the same borders, `other borders` of what it overlaps, `missed`, or `invented`
    gold: str
    told: str

    @property
    def kinds(self) -> str:
        return " → ".join(dict.fromkeys(filter(None, (self.gold, self.told))))


def mistakes(gold: Sequence[Sequence[Span]], told: Sequence[Sequence[Span]]) -> Counter[Mistake]:
    """What became of entities that were not told rightly, and of what was told wrongly → how many."""
    found: Counter[Mistake] = Counter()
    for own, some in zip(gold, told, strict=True):
        left = [span for span in some if span not in own]
        for span in own:
            if span in some:
                continue
            near = [one for one in left if one.start < span.end and one.end > span.start]
            same = next((one for one in near if one[:2] == span[:2]), None)
            if same:
                found[Mistake("another kind", span.kind, same.kind)] += 1
            elif near:
                found[Mistake("other borders", span.kind, near[0].kind)] += 1
            else:
                found[Mistake("missed", span.kind, "")] += 1
            left = [one for one in left if one not in near]
        found.update(Mistake("invented", "", one.kind) for one in left)
    return found


def best_tags(rows: np.ndarray, lengths: np.ndarray, follow: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """(K, C) logarithms of probabilities, of n texts of (n,) lengths, end to end → (K,) the tags of their best rows.

    follow: (C, C) bool, which tag may follow which; begin: (C,) bool, which may stand first.
    """
    tags, starts = np.zeros(len(rows), dtype=np.int64), lengths.cumsum() - lengths
    for some in groups(lengths):
        longest, own = int(lengths[some].max()), lengths[some]
        places = (starts[some, None] + np.arange(longest)).clip(max=max(len(rows) - 1, 0))  # (b, S)
        there = np.arange(longest) < own[:, None]
        scores = rows[places[:, 0]] + np.where(begin, 0, -np.inf)  # (b, C)
        back = np.zeros((longest, len(some), rows.shape[1]), dtype=np.int64)
        costs = np.where(follow, 0, -np.inf)
        for place in range(1, longest):
            paths = scores[:, :, None] + costs  # (b, C, C)
            goes_on = there[:, place, None]
            back[place] = np.where(goes_on, paths.argmax(axis=1), np.arange(rows.shape[1]))
            scores = np.where(goes_on, paths.max(axis=1) + rows[places[:, place]], scores)
        last = scores.argmax(axis=1)
        for place in range(longest - 1, -1, -1):
            tags[places[there[:, place], place]] = last[there[:, place]]
            last = back[place][np.arange(len(some)), last]
    return tags


def groups(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Numbers of texts with tokens, by length, so that few places of a group's longest text are empty."""
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * lengths[order[end]] <= AT_ONCE:
            end += 1
        yield order[start:end]
        start = end
