"""Check labelled texts: label balance, duplicates, contradictions, near-duplicates across splits, lengths.

python scripts/check_data.py --data jrte
python scripts/check_data.py --data reviews.csv --text-column review --label-column stars --threshold 0.9
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence

from tezukuri.data.check import contradictions, duplicates, meant, near_duplicates
from tezukuri.data.dataset import SPLITS, Dataset, Example
from tezukuri.data.label_names import remarks
from tezukuri.data.rows import count_of, shown
from tezukuri.data.table import NONE
from tezukuri.eval.inside_lines import columns, fill
from tezukuri.eval.look.page import begun
from tezukuri.eval.look.survey import labels_of
from tezukuri.eval.tasks.table import kind_of_labels, task_for
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import add_data_options, add_task_option, plan_of, positive
from tezukuri.train.plan import DataOptions


def parser() -> argparse.ArgumentParser:
    options = parser_of("check_data", __doc__)
    add_data_options(options)
    add_task_option(options)
    options.add_argument("--threshold", type=ratio, default=0.85, help="difflib's ratio of near texts (%(default)s)")
    options.add_argument("--show", type=positive, default=10, help="list so many of each finding (%(default)s)")
    return options


def of_task(data: Dataset, name: str | None) -> list[str]:
    """What the task says of the data, or why it cannot be learned from them."""
    try:
        return task_for(name if data.task == "classify" else None, data).notes(data)  # other data say theirs
    except ValueError as error:
        return [f"finetune would refuse these data: {error}"]


def ratio(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    if not 0 <= float(text) <= 1:
        raise ValueError
    return float(text)


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    paired, labelled = options.pair_column is not None, options.label_column != NONE
    data = plan_of(DataOptions, options).read_data(kind_of_labels(options.task, paired, labelled))
    print(f"{data.name}: {len(data.examples)} texts, {count_of(data.bad_rows)} left out")
    told = [*data.notes, *of_task(data, options.task)]
    told += [note for note in remarks(data) if not any(note in one for one in told)]  # a task may say the same
    print("\n".join([*told, "", *table(data)]))
    for row in data.bad_rows[: options.show]:
        print(f"bad row  {shown(str(row))}")
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
    """A line a name of labels, and one for all texts: how many of each split, and what share of its texts that is."""
    of_splits = {split: [example for example in data.examples if example.split == split] for split in SPLITS}
    texts = {split: len(some) for split, some in of_splits.items()}
    found = labels_of(of_splits, data.labels)
    values = found.values if found else {split: [] for split in SPLITS}
    names = found.order if found else ()
    counts = {split: Counter(own) for split, own in values.items()}
    rows = [(name, {split: counts[split][name] for split in SPLITS}) for name in names] + [("all", texts)]
    title = found.title if found and names else ""
    wide = max(12, *(columns(printable(name)) + 2 for name in [title, *names]))
    yield fill(title, wide) + "".join(f"{name:>17}" for name in (*SPLITS, "all"))
    for name, row in rows:
        cells = [(row[split], texts[split]) for split in SPLITS] + [(sum(row.values()), sum(texts.values()))]
        yield fill(printable(name), wide) + "".join(
            f"{count:>7} ({100 * count / max(whole, 1):5.1f} %)" for count, whole in cells
        )
    if found and not found.order:
        every = [number for own in values.values() for number in own]
        yield f"{found.title}: {min(every):g} to {max(every):g}, mean {sum(every) / len(every):.3g}"


def show(title: str, lines: Sequence[str], count: int) -> None:
    print(f"\n{title}")
    for text in lines:
        print(f"  {text}")
    if count > len(lines):
        print(f"  … and {count - len(lines)} more (--show {count})")


def together(group: list[Example]) -> str:
    return f"{printable(group[0].content)}  " + ", ".join(map(place, group))


def line(example: Example) -> str:
    return f"{place(example)}  {printable(example.content)}"


def place(example: Example) -> str:
    return f"{printable(example.id)} ({example.split}, {printable(meant(example)) or 'no label'})"


def printable(text: str) -> str:
    return shown(begun(text))


if __name__ == "__main__":
    run_file(__file__)
