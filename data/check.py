"""Checks of labelled texts before training: duplicates, contradictions, near-duplicates."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
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

    Texts are compared after NFKC; those equal before it are left to `duplicates`.

    Only pairs that share enough bigrams are given to difflib, and none is lost by that. Let M characters of two texts
    with n together match, in k blocks. Their ratio is 2M / n, so u = n - 2M characters do not match. At least one of
    these lies between two blocks: k ≤ u + 1. A block of c characters is c - 1 shared bigrams, so the texts share
    M - k ≥ M - u - 1 = 3M - n - 1 of them, which for a ratio above t is more than (1.5 t - 1) n - 1.
    """
    # Of each text in each split the first example, and who has which bigram.
    firsts = list({(example.content, example.split): example for example in reversed(examples)}.values())[::-1]
    texts = [unicodedata.normalize("NFKC", example.content) for example in firsts]
    lengths = np.array([len(text) for text in texts])
    splits = np.array([example.split for example in firsts])
    bigrams = [numbered_bigrams(text) for text in texts]
    holders: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for number, own in enumerate(bigrams):
        for bigram in own:
            holders[bigram].append(number)
    places = {bigram: np.array(numbers) for bigram, numbers in holders.items()}

    # Each against those before it.
    found = []
    matcher: SequenceMatcher[str] = SequenceMatcher(autojunk=False)
    for number, own in enumerate(bigrams):
        matcher.set_seq2(texts[number])  # what it keeps about this text serves every other
        sharing = np.concatenate([np.empty(0, int), *(places[bigram] for bigram in own)])
        shared = np.bincount(sharing, minlength=len(texts))[:number]
        enough = shared >= (1.5 * threshold - 1) * (lengths[:number] + lengths[number]) - 1
        for other in np.flatnonzero(enough & (splits[:number] != splits[number])):
            matcher.set_seq1(texts[other])
            bounds = matcher.real_quick_ratio, matcher.quick_ratio, matcher.ratio
            if firsts[other].content != firsts[number].content and all(bound() > threshold for bound in bounds):
                found.append((matcher.ratio(), firsts[other], firsts[number]))
    return sorted(found, key=lambda pair: -pair[0])


def numbered_bigrams(text: str) -> list[tuple[str, int]]:
    """`はははは` → (はは, 0), (はは, 1), (はは, 2): numbered, they are a set, and the shared ones can be counted."""
    seen: Counter[str] = Counter()
    numbered = []
    for start in range(len(text) - 1):
        bigram = text[start : start + 2]
        numbered.append((bigram, seen[bigram]))
        seen[bigram] += 1
    return numbered
