"""Random splits by a seed, with the same share of every class."""

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from .dataset import Example


def draw_splits(examples: list[Example], shares: Mapping[str, float], seed: int) -> list[Example]:
    """The examples in the same order, a share of each class moved to each of the named splits and the rest to train.

    Labels that are no names are one class.

    A class gives at least one example to every split, unless it has no more distinct texts than there are splits to
    draw; then all of it stays in train. A text that occurs several times is in one split.
    """
    # Equal texts are one group; a text with two labels is of the class of the first.
    groups_of_class: dict[str, dict[str, list[int]]] = defaultdict(dict)  # label -> text -> positions
    class_of_text: dict[str, str] = {}
    for position, example in enumerate(examples):
        text = example.content.strip()
        own = example.label if isinstance(example.label, str) else ""  # numbers and lists are one class
        label = class_of_text.setdefault(text, own)
        groups_of_class[label].setdefault(text, []).append(position)

    # Class by class, groups in random order are taken for each split.
    split_of = ["train"] * len(examples)
    generator = random.Random(seed)
    for label in sorted(groups_of_class):
        groups = list(groups_of_class[label].values())
        if len(groups) <= len(shares):
            continue
        generator.shuffle(groups)
        total = sum(map(len, groups))
        for to_fill, (split, share) in zip(range(len(shares), 0, -1), shares.items(), strict=True):
            taken, groups = take(groups, round(share * total), keep=to_fill)
            for position in taken:
                split_of[position] = split
    return [replace(example, split=split) for example, split in zip(examples, split_of, strict=True)]


def take(groups: list[list[int]], size: int, keep: int) -> tuple[list[int], list[list[int]]]:
    """Positions of groups with at most `size` together (or of the smallest), and the other groups, at least `keep`."""
    taken: list[list[int]] = []
    left: list[list[int]] = []
    for group in groups:
        if len(group) <= size and len(groups) - len(taken) > keep:
            taken.append(group)
            size -= len(group)
        else:
            left.append(group)
    if not taken:
        taken = [min(left, key=len)]
        left.remove(taken[0])
    return [position for group in taken for position in group], left
