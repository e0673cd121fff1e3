"""K-fold cross-validation: train and dev dealt into K parts, of which one is dev and the others are train."""

import random
import re
import unicodedata
from collections import defaultdict
from dataclasses import replace

from .dataset import DataError, Dataset, Example
from .rows import listed


def parse_fold(text: str) -> tuple[int, int]:
    """`2/5` → part 2 of 5; ValueError where it is none."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    number, parts = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= parts:
        raise ValueError(f"{text!r} is no part of a whole: write 2/5 for the second of five")
    return number, parts


def with_fold(data: Dataset, number: int, parts: int, seed: int) -> Dataset:
    """The data with part `number` (from 1) of its texts of train and dev as dev, and the others as train.

    Test stays as it is. Each class is dealt evenly; texts that differ in width, case and white space alone are in one
    part.

    Raises:
        DataError: one part alone, or more parts than different texts.
    """
    # The same texts are one group, of the class of the first.
    groups: defaultdict[str, list[Example]] = defaultdict(list)
    for example in data.examples:
        if example.split != "test":
            groups[plain(example.content)].append(example)
    if not 2 <= parts <= len(groups):
        raise DataError(f"{data.name} has {len(groups)} different texts in train and dev: deal them into 2 parts or "
                        f"more, and no more than that, not {parts}")  # fmt: skip
    of_class: defaultdict[str, list[str]] = defaultdict(list)
    for text, group in groups.items():
        of_class[group[0].label if isinstance(group[0].label, str) else ""].append(text)

    # Each goes to the part that has the fewest of its class, and of all.
    part_of: dict[str, int] = {}
    sizes, generator = [0] * parts, random.Random(seed)
    for _, texts in sorted(of_class.items()):
        generator.shuffle(texts)
        of_part = [0] * parts
        for text in texts:
            part = min(range(parts), key=lambda part: (of_part[part], sizes[part]))
            part_of[text] = part
            of_part[part] += len(groups[text])
            sizes[part] += len(groups[text])
    split_of = {text: "dev" if part == number - 1 else "train" for text, part in part_of.items()}
    examples = [e if e.split == "test" else replace(e, split=split_of[plain(e.content)]) for e in data.examples]

    # Notes.
    by_class = ", class by class" if list(of_class) != [""] else ""
    notes = [f"cross-validation: train and dev dealt into {parts} parts{by_class} (seed {seed}); part {number} is dev"]
    if same := sum(len(group) for group in groups.values() if len(group) > 1):
        notes.append(f"texts that differ from others in width, case and spaces at most, and share their part: {same}")
    if known := sum(e.split == "test" and plain(e.content) in groups for e in data.examples):
        notes.append(f"texts of test that are among these too, with the same allowance: {known}")
    sides = {split: [{plain(e.text), plain(e.pair)} for e in examples if e.split == split and e.pair is not None]
             for split in ("train", "dev")}  # fmt: skip
    learned = set[str]().union(*sides["train"])
    if halves := sum(not learned.isdisjoint(side) for side in sides["dev"]):
        notes.append(f"pairs of part {number} of which one text is in a pair of train too: {halves}")
    if few := [label for label, texts in sorted(of_class.items()) if label and len(texts) < parts]:
        notes.append(f"fewer than {parts} different texts of {listed(few)}: not all parts have it")
    return replace(data, examples=examples, notes=[*data.notes, *notes])


def plain(text: str) -> str:
    """A text without differences of width, case and white space."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())
