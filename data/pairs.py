"""Texts with classes → pairs of texts that are alike, being of one class, or not: Tunstall et al. 2022 (SetFit,
arXiv:2209.11055), section 3.1."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

from .dataset import DataError, Example


def pairs_of_classes(examples: Sequence[Example], each: int, seed: int) -> list[Example]:
    """For each text `each` pairs with texts of its class (label 1.0) and as many with others (0.0), split by split.

    A class with a single text has no pairs of its own. DataError where a split with texts has no pair at all.
    """
    found: list[Example] = []
    for split in dict.fromkeys(example.split for example in examples):
        own = [example for example in examples if example.split == split]
        pairs = list(pairs_of(own, each, random.Random(f"{seed} {split}")))
        if not pairs:
            raise DataError(f"no pairs can be drawn from the {split} split: it needs two classes, or two texts of one")
        found += pairs
    return found


def pairs_of(examples: Sequence[Example], each: int, draw: random.Random) -> Iterator[Example]:
    of_class: dict[str, list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        of_class[example.label].append(number)
    everything = range(len(examples))
    rare = {  # label → the texts of others, where nearly all texts have it
        label: [number for number in everything if examples[number].label != label]
        for label, own in of_class.items()
        if len(own) > 0.99 * len(examples)
    }
    for number, example in enumerate(examples):
        same = of_class[example.label]
        for round_ in range(each):
            others: list[tuple[float, Sequence[int]]] = [(1.0, same)] if len(same) > 1 else []
            others += [(0.0, rare.get(example.label, everything))] if len(same) < len(examples) else []
            for label, pool in others:
                other = number
                while other == number or (examples[other].label == example.label) != bool(label):
                    other = draw.choice(pool)
                id_ = f"{example.id}-{'same' if label else 'other'}{round_ + 1}"
                yield Example(id_, example.text, label, example.split, pair=examples[other].text)
