"""Checks of labelled texts before training: duplicates, contradictions, near-duplicates."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from .dataset import Example, Span
from .label_kinds import BETWEEN


def duplicates(examples: Sequence[Example]) -> list[list[Example]]:
    """The examples of every text that occurs more than once (with the same choices), in the order of the file."""
    groups: defaultdict[tuple[Any, ...], list[Example]] = defaultdict(list)
    for example in examples:
        groups[example.text, example.pair, tuple(sorted(example.choices or ()))].append(example)
    return [group for group in groups.values() if len(group) > 1]


def contradictions(groups: Sequence[list[Example]]) -> list[list[Example]]:
    """Those groups of duplicates whose labels do not all mean the same."""
    return [group for group in groups if len({meant(example) for example in group}) > 1]


def meant(example: Example) -> str:
    """A label in words, which are the same where it means the same: of choices the right one, of spans their texts."""
    label = example.label
    if label is None:
        return "no label"
    if example.choices and isinstance(label, int):
        return example.choices[label]
    if not isinstance(label, tuple):
        return f"{label:g}" if isinstance(label, float) else str(label)
    text = example.text if example.pair is None else example.pair
    names = [f"{text[one.start : one.end]} {one.kind}".strip() if isinstance(one, Span) else one for one in label]
    return BETWEEN.join(sorted(dict.fromkeys(names)))


def near_duplicates(examples: Sequence[Example], threshold: float = 0.85) -> list[tuple[float, Example, Example]]:
    """(ratio, earlier, later) of texts in different splits whose difflib ratio is above `threshold`, highest first.

    Texts are compared after NFKC; those equal before it are left to `duplicates`. Only `candidates` are given to
    difflib, and no pair is lost by that.
    """
    # Of each text in each split the first example, in the order of the file.
    found_first: dict[tuple[str, str], Example] = {}
    for example in examples:
        found_first.setdefault((example.content, example.split), example)
    firsts = list(found_first.values())
    texts = [unicodedata.normalize("NFKC", example.content) for example in firsts]
    found = []
    matcher: SequenceMatcher[str] = SequenceMatcher(autojunk=False)
    for later, earlier in sorted(candidates(texts, [example.split for example in firsts], threshold)):
        matcher.set_seq2(texts[later])  # what it keeps about this text serves every other
        matcher.set_seq1(texts[earlier])
        bounds = matcher.real_quick_ratio, matcher.quick_ratio, matcher.ratio
        if firsts[earlier].content != firsts[later].content and all(bound() > threshold for bound in bounds):
            found.append((matcher.ratio(), firsts[earlier], firsts[later]))
    return sorted(found, key=lambda pair: -pair[0])


def candidates(texts: Sequence[str], splits: Sequence[str], threshold: float) -> Iterator[tuple[int, int]]:
    """Numbers of two texts, the later first, of different splits, whose ratio may be above the threshold.

    Let M characters of two texts with n together match, in k blocks. Their ratio is 2M / n, so u = n - 2M characters do
    not match. At least one of these lies between two blocks: k ≤ u + 1. A block of c characters is c - 1 shared
    bigrams, so the texts share M - k ≥ M - u - 1 = 3M - n - 1 of them, which for a ratio t is (1.5 t - 1) n - 1. The
    shorter text has at least t / (2 - t) of the characters of the longer one, as 2M is at most twice the shorter.

    Bigrams are counted as Li et al. 2008 do ("Efficient Merging and Filtering Algorithms for Approximate String
    Searches"): the most frequent ones of a text are passed over, as if both had them.
    """
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    rows = numbers_of([numbered_bigrams(text) for text in texts])
    different = 1 + max((int(row[-1]) for row in rows if len(row)), default=0)
    # Each split beside all larger ones.
    sizes = Counter(splits)
    order = sorted(sizes, key=lambda name: sizes[name])
    for place, split in enumerate(order[:-1]):
        own = np.array([number for number, name in enumerate(splits) if name == split])
        own = own[np.argsort(lengths[own], kind="stable")]
        # Who has which bigram: holders[starts[b] : starts[b + 1]].
        bigrams = np.concatenate([rows[number] for number in own])
        holders = np.repeat(np.arange(len(own)), lengths[own].clip(min=1) - 1)[np.argsort(bigrams, kind="stable")]
        starts = np.cumsum([0, *np.bincount(bigrams, minlength=different)])
        larger = set(order[place + 1 :])
        for number in [number for number, name in enumerate(splits) if name in larger]:
            length = lengths[number]
            ends = (
                np.floor(length * threshold / (2 - threshold)),
                np.ceil(length * (2 - threshold) / max(threshold, 1e-9)),
            )
            first, last = np.searchsorted(lengths[own], [ends[0], ends[1] + 1])
            needed = (1.5 * threshold - 1) * (lengths[own[first:last]] + length) - 1
            if not len(needed):
                continue
            over = max(int(needed[0] / 2), 0)
            rare = rows[number][: len(rows[number]) - over]
            counts = starts[rare + 1] - starts[rare]
            places = np.arange(counts.sum()) + np.repeat(starts[rare] - counts.cumsum() + counts, counts)
            shared = np.bincount(holders[places], minlength=len(own))[first:last]
            for other in own[first:last][shared >= needed - over].tolist():
                yield max(number, other), min(number, other)


def numbers_of(rows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Sets of things as ascending numbers, the rarest thing's is 0."""
    flat = np.concatenate([np.empty(0, np.int64), *rows])
    _, places, counts = np.unique(flat, return_inverse=True, return_counts=True)
    ranks = np.argsort(np.argsort(counts, kind="stable"), kind="stable")
    return [np.sort(row) for row in np.split(ranks[places], np.cumsum([len(row) for row in rows])[:-1])]


def numbered_bigrams(text: str) -> np.ndarray:
    """`はははは` → numbers for (はは, 0), (はは, 1), (はは, 2): a set, so that the shared ones can be counted."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)  # of 21 bits
    bigrams = np.sort(codes[:-1] << 21 | codes[1:])
    return bigrams << 21 | np.arange(len(bigrams)) - np.searchsorted(bigrams, bigrams)
