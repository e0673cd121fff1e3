"""Labels that are hardly meant as classes: missing values, names that look alike, numbers, classes of a single text.

They are told, and only `merge_labels` changes them.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .dataset import SPLITS, DataError, Dataset, Example

MISSING = {
    "nan", "-nan", "none", "(none)", "null", "(null)", "nil", "na", "n/a", "#n/a", "<na>", "#na", "nat", "?", "-",
    "欠損", "未入力",
}  # fmt: skip
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
FEW_TEXTS = 20  # a split of fewer is told
MANY_CLASSES = 10  # labels that may be numbers or ids are at least so many
MANY_NUMBERS = 20  # classes that are numbers with a fraction are at most so many
SHOWN = 10


def look(name: str) -> str:
    """What names that look alike share: without widths, composition, invisible characters, case, and 1 = 1.0 = true."""
    composed = unicodedata.normalize("NFKC", name).casefold().replace("\u2212", "-")
    seen = "".join(c for c in composed if unicodedata.category(c) not in ("Cf", "Cc") and not "\ufe00" <= c <= "\ufe0f")
    plain = " ".join(unicodedata.normalize("NFKC", seen).split())
    if number := re.fullmatch(r"\+?(-?\d+)(?:\.(\d*?)0*)?", plain):
        return f"{number[1]}.{number[2]}" if number[2] else number[1]
    return {"true": "1", "false": "0"}.get(plain, plain)


def look_alikes(names: Iterable[str]) -> list[list[str]]:
    """The groups of different names that look alike."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        groups[look(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def merged(
    examples: Sequence[Example], labels: Iterable[str], own: Iterable[str] = ()
) -> tuple[list[Example], tuple[str, ...], list[str]]:
    """Labels that look alike joined, in the examples and their votes; the labels that are left, and notes.

    Of names that look alike one of `own`, such as a model's, stands for all, or that of most texts, or the plainest.
    """
    labels, own = list(labels), list(own)
    counts = Counter(str(example.label) for example in examples)
    stands_for: dict[str, str] = {}  # look -> name
    notes = []
    for group in look_alikes([*labels, *own, *counts]):
        name = max([one for one in group if one in own] or group, key=lambda one: (counts[one], one == look(one)))
        stands_for[look(name)] = name
        others = [one for one in group if one != name]
        notes.append(f"labels joined: {counted(others, counts)} into {counted([name], counts)}")
    if not notes:
        return list(examples), tuple(labels), []

    def renamed(example: Example) -> Example:
        votes: Counter[str] = Counter()
        for name, number in (example.votes or {}).items():
            votes[stands_for.get(look(name), name)] += number
        label = stands_for.get(look(str(example.label)), example.label)
        return replace(example, label=label, votes=dict(votes) if example.votes else example.votes)

    left = dict.fromkeys(stands_for.get(look(label), label) for label in labels)
    return [renamed(example) for example in examples], tuple(left), notes


def with_merged_labels(data: Dataset, own: Iterable[str] = ()) -> Dataset:
    examples, labels, notes = merged(data.examples, data.labels, own)
    return replace(data, examples=examples, labels=labels, notes=[*data.notes, *notes]) if notes else data


def label_notes(data: Dataset, splits: Sequence[str] = SPLITS, others: Sequence[str] = ()) -> list[str]:
    """What is strange about the classes of some splits, a sentence each; `others` are names that a model has."""
    counts = Counter(str(example.label) for example in data.examples)
    notes = []
    if missing := [name for name in data.labels if counts[name] and look(name) in MISSING]:
        notes.append(f"labels that look like missing values, but are classes: {counted(missing, counts)}")
    for alike in look_alikes([*data.labels, *others]):
        told = f"labels that look alike, but are {len(alike)}: {counted(alike, counts)}"
        notes.append(f"{told}: --merge-labels joins them")
    if odd := [name for name in data.labels if any(unicodedata.category(c) == "Cc" for c in name)]:
        notes.append(f"labels with control characters, such as the end of a line: {counted(odd, counts)}")
    if single := [name for name in data.labels if counts[name] == 1]:
        notes.append(f"labels of a single text: {counted(single)}")
    for split in splits:
        own = Counter(str(example.label) for example in data.examples if example.split == split)
        if not own:
            continue
        if absent := [name for name in data.labels if not own[name]]:
            so = "they cannot be learned" if split == "train" else "the F1 of each is 0 there, and lowers the macro-F1"
            notes.append(f"labels without a text in {split}: {counted(absent)}: {so}")
        if split != "train" and own.total() < FEW_TEXTS:
            texts = "1 text" if own.total() == 1 else f"{own.total()} texts"
            notes.append(f"{split} has only {texts}: each is {1 / own.total():.2f} of its accuracy")
    return notes


def refuse_numbers(data: Dataset) -> None:
    """DataError where labels that nobody named look like numbers to predict, or like ids."""
    counts = Counter(str(example.label) for example in data.examples)
    numbers = [name for name in counts if NUMBER.fullmatch(name)]
    real = len(numbers) == len(counts) > MANY_NUMBERS and any(float(name) % 1 for name in numbers)
    if real or (len(counts) >= MANY_CLASSES and 2 * len(counts) > counts.total()):
        what = "numbers" if len(numbers) == len(counts) else "ids or texts"
        raise DataError(
            f"{data.name} has {len(counts)} labels for {counts.total()} texts ({counted(list(counts)[:3])}, …), which "
            f"look like {what}, not like classes: name another column (--label-column), or the classes (--classes); "
            "numbers as such are for the task score, and beside pairs (--pair-column) for similarity"
        )


def remarks(data: Dataset) -> list[str]:
    """What `refuse_numbers` and `label_notes` say of the classes of some data; nothing where labels are no names."""
    if not all(isinstance(example.label, str) for example in data.examples):
        return []
    try:
        refuse_numbers(data)
    except DataError as error:  # finetune stops there; the rest may be of use all the same
        return [str(error), *label_notes(data)]
    return label_notes(data)


def counted(names: Sequence[str], counts: Counter[str] | None = None) -> str:
    """`'a' (3 texts), 'b' (1 text)`; a name whose accents stand apart says so, since it looks like another."""
    told = []
    for name in names[:SHOWN]:
        apart = "" if unicodedata.is_normalized("NFC", name) else " in NFD"
        number = "" if counts is None else f" ({counts[name]} text{'' if counts[name] == 1 else 's'})"
        told.append(f"{name!r}{apart}{number}")
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(told) + more
