"""Check labelled texts: label balance, duplicates, contradictions, near-duplicates across splits, lengths.

python scripts/check_data.py --data jrte
python scripts/check_data.py --data reviews.csv --text-column review --label-column stars --threshold 0.9
"""

import argparse
from collections.abc import Iterator, Sequence

from tezukuri.data.check import balance, contradictions, duplicates, near_duplicates
from tezukuri.data.dataset import SPLITS, DataError, Dataset, Example
from tezukuri.data.label_kinds import label_line
from tezukuri.data.label_names import label_notes, refuse_numbers
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import add_data_options, plan_of, positive
from tezukuri.train.plan import DataOptions


def parser() -> argparse.ArgumentParser:
    options = parser_of("check_data", __doc__)
    add_data_options(options)
    options.add_argument("--threshold", type=ratio, default=0.85, help="difflib's ratio of near texts (%(default)s)")
    options.add_argument("--show", type=positive, default=10, help="list so many of each finding (%(default)s)")
    return options


def ratio(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    if not 0 <= float(text) <= 1:
        raise ValueError
    return float(text)


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    data = plan_of(DataOptions, options).read_data()
    print(f"{data.name}: {len(data.examples)} texts, {len(data.bad_rows)} bad rows left out")
    strange = label_notes(data) if data.task == "classify" else []
    try:
        if data.task == "classify":
            refuse_numbers(data)
    except DataError as error:  # finetune stops there; the rest may be of use all the same
        strange.insert(0, str(error))
    print("\n".join([*data.notes, *strange, "", *table(data)]))
    for row in data.bad_rows[: options.show]:
        print(f"bad row  {row}")
    same = duplicates(data.examples)
    near = near_duplicates(data.examples, options.threshold)
    by_length = sorted(data.examples, key=lambda example: len(example.content))
    findings = {
        "texts that stand more than once": [together(group) for group in same],
        "of them with contradicting labels": [together(group) for group in contradictions(same)],
        f"pairs across splits more alike than {options.threshold:g}": [
            f"{alike:.3f}  {line(a)}\n         {line(b)}" for alike, a, b in near
        ],
    }
    for what, found in findings.items():
        show(f"{what}: {len(found)}", found[: options.show], len(found))
    few = min(3, len(by_length))
    show("longest texts", [f"{len(e.content):5}  {line(e)}" for e in by_length[::-1][:few]], few)
    show("shortest texts", [f"{len(e.content):5}  {line(e)}" for e in by_length[:few]], few)
    return 0


def table(data: Dataset) -> Iterator[str]:
    """A line a class, and one for all: how many texts of each split, and what share of the split that is."""
    found = balance(data.examples)
    classes = data.labels if data.task == "classify" else ()
    every = tuple({label for label, _ in found})
    columns = [(split,) for split in SPLITS] + [SPLITS]
    yield f"{'':<12}" + "".join(f"{name:>17}" for name in (*SPLITS, "all"))
    for labels, name in [*(((label,), label) for label in classes), (every, "all")]:
        row = f"{name:<12}"
        for column in columns:
            count = sum(found[label, split] for label in labels for split in column)
            whole = sum(found[label, split] for label in every for split in column)
            row += f"{count:>7} ({100 * count / max(whole, 1):5.1f} %)"
        yield row


def show(title: str, lines: Sequence[str], count: int) -> None:
    print(f"\n{title}")
    for text in lines:
        print(f"  {text}")
    if count > len(lines):
        print(f"  … and {count - len(lines)} more (--show {count})")


def together(group: list[Example]) -> str:
    return f"{printable(group[0].content)}  {', '.join(map(named, group))}"


def line(example: Example) -> str:
    return f"{named(example)}  {printable(example.content)}"


def named(example: Example) -> str:
    return f"{example.id} ({example.split}, {label_line(example.label, example.text, example.pair)})"


def printable(text: str) -> str:
    """Without control codes, at most 80 characters."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown if len(shown) <= 80 else shown[:79] + "…"


if __name__ == "__main__":
    run_file(__file__)
