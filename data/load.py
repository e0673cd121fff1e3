"""`load`, the function behind --data: it finds the reader, and draws the splits that a file lacks."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from .chabsa import CHABSA
from .commonsense_moral import COMMONSENSE_MORAL
from .dataset import SPLITS, DataError, Dataset, Example
from .encodings import AUTO
from .jcola import JCOLA
from .jglue import JCOMMONSENSEQA, JNLI, JSQUAD, JSTS
from .jrte import CARD as JRTE
from .jrte import LABELS, fetch, read_jrte
from .jrte_rte import JRTE_RTE
from .jsick import JSICK
from .label_kinds import LABEL_KINDS, NOTHING, names_in
from .label_names import merged
from .livedoor import LIVEDOOR
from .marc_ja import MARC_JA
from .ner_wikipedia import NER_WIKIPEDIA
from .reader import Card, Reader
from .rows import Rows, listed, refuse_bad_rows
from .split import draw_splits
from .stsb import STSB
from .table import SUFFIXES, class_order, read_table
from .wrime import WRIME

SAMPLE = Path(__file__).parent / "sample" / "reviews.tsv"
OF_SAMPLE = Card(
    "classify", "sentiment of reviews written for this package", "2,152 / 450 / 455", "CC0 1.0", "tezukuri"
)


READERS = {
    "jrte": Reader(read_jrte, LABELS, fetch, card=JRTE, folder=True),
    "sample": Reader(read_jrte, LABELS, lambda: SAMPLE, shipped=True, card=OF_SAMPLE),
    "wrime": WRIME,
    "marc-ja": MARC_JA,
    "jcola": JCOLA,
    "chabsa": CHABSA,
    "commonsense-moral": COMMONSENSE_MORAL,
    "livedoor": LIVEDOOR,
    "jnli": JNLI,
    "jrte-rte": JRTE_RTE,
    "jsick": JSICK,
    "jsts": JSTS,
    "stsb": STSB,
    "jcommonsenseqa": JCOMMONSENSEQA,
    "jsquad": JSQUAD,
    "ner-wikipedia": NER_WIKIPEDIA,
}


def load(
    source: str | Path,
    *,
    path: str | Path | None = None,
    text_column: str = "text",
    label_column: str = "label",
    pair_column: str | None = None,
    split_column: str | None = None,
    id_column: str | None = None,
    encoding: str = AUTO,
    labels: Sequence[str] | None = None,
    merge_labels: bool = False,
    seed: int = 0,
    bad_rows: Literal["error", "skip"] = "error",
    labels_are: str = "name",
    choice_columns: Sequence[str] | None = None,
    last_fifth: bool = False,
) -> Dataset:
    """Load a corpus of READERS (downloaded once, or read from `path`), or a .tsv, .csv or .jsonl file.

    Options of a corpus stand behind its name: `wrime:view=writer`.

    Args:
        last_fifth: where a file has no splits, the last fifth of its rows are dev and the others train.
        split_column, id_column: by default "split" and "id", where there are such; "none" for no column.
        encoding: one of Python's; `auto` is UTF-8, UTF-16 with its mark, or cp932 where the file is Japanese in it.
        labels: names and order of the classes; by default those of the file, sorted.
        merge_labels: join those that look alike (`Positive` and `positive`).
        seed: of missing splits, drawn as 80 % train, 10 % dev, 10 % test; where there is train but no dev, a tenth of
            train is drawn for it. Columns are those of files.
        bad_rows: `skip` lists them in `Dataset.bad_rows`; otherwise they are a DataError.
        labels_are: what those of a file are: `name`s of classes, or another of LABEL_KINDS.
        choice_columns: where the choices are, if the labels are such; in JSON also one column, which holds a list.
            Where there are no labels, they are texts that are unlike.
    """
    # The arguments.
    if bad_rows not in ("error", "skip"):
        raise ValueError(f'bad_rows is "error" or "skip", not {bad_rows!r}')
    corpus, _, told_options = source.partition(":") if isinstance(source, str) else ("", "", "")
    reader = READERS.get(corpus)
    if path is not None and (reader is None or reader.shipped):
        downloaded = " or ".join(name for name, other in READERS.items() if not other.shipped)
        raise DataError(f"--data-path is for --data {downloaded}; give the file itself as --data {path}")
    if isinstance(labels, str):
        raise DataError(f"the classes are one name, {labels!r}: give a list of them")
    if labels is not None and len(set(labels)) != len(labels):
        raise DataError(f"a label is named twice: {listed(labels)}")
    if choice_columns and labels_are == "name":
        labels_are = "choice"
    if choice_columns and labels_are not in ("choice", NOTHING):
        raise DataError(
            "--choice-columns are for the task choose, or for similarity without scores (--label-column none): leave "
            "them out, or choose such a task"
        )
    refuse_classes(labels_are, labels, merge_labels)
    # The file.
    notes: list[str] = []
    drawn = False
    if reader is not None:
        told = {"text": text_column != "text", "label": label_column != "label", "pair": pair_column}
        told |= {"split": split_column, "id": id_column}
        for use in [use for use, given in told.items() if given]:
            raise DataError(f"{source} has columns of its own: leave out --{use}-column")
        if choice_columns:
            raise DataError(f"{source} has columns of its own: leave out --choice-columns")
        if encoding != AUTO:
            raise DataError(f"{source} is UTF-8: leave out --encoding")
        options = reader.chosen(corpus, told_options)
        classes = reader.classes(options)
        if labels is not None and tuple(labels) != classes:
            raise DataError(f"the classes of {source} are {listed(classes)}, in this order, not {listed(labels)}")
        file = existing_path(path, corpus, reader.folder) if path is not None else reader.fetch()
        examples, bad, unwanted, of_reader = Rows(*reader.read(file, **options))
        notes = [*of_reader, *(f"{n:,} row{'' if n == 1 else 's'} left out: {why}" for why, n in unwanted.items())]
        drawn = any(not example.split for example in examples)
        if drawn or {example.split for example in examples} & {"train", "dev"} == {"train"}:
            examples, of_splits = (reader.draw or with_splits)(examples, seed)
            notes += of_splits[:1]  # what was drawn; what else is missing, the reader tells
    else:
        file = existing(source)
        if file.suffix.lower() not in SUFFIXES:
            raise DataError(f"{file}: the suffix must be one of {listed(SUFFIXES)}")
        if labels_are == "choice" and not choice_columns:
            raise DataError(f"{file}: the task choose needs choices: name their columns (--choice-columns a,b,c)")
        examples, bad, notes = read_table(
            file, text_column, label_column, split_column, labels, pair_column, id_column, encoding, merge_labels,
            labels_are, choice_columns or (),
        )  # fmt: skip
        classes = tuple(labels) if labels is not None else class_order(names_of(examples))
        if merge_labels:
            examples, classes, joined = merged(examples, classes, own=labels or ())
            classes = classes if labels is not None else class_order(classes)
            notes += joined
        drawn = any(not example.split for example in examples)
        if last_fifth and drawn:
            examples, of_splits = with_last_fifth(examples)
        else:
            examples, of_splits = with_splits(examples, seed)
        notes += of_splits
    if last_fifth and not drawn:
        notes.append("its own splits are used; dev would be the last fifth of the rows where there are none")
    if bad_rows == "error":
        refuse_bad_rows(bad)
    if not examples:
        reason = f": all of its {len(bad)} rows are bad, the first is {bad[0]}" if bad else ""
        raise DataError(f"{file} has no examples{reason}")
    name = file.name if reader is None else str(source)
    task = (
        reader.card.task if reader is not None and reader.card else "choose" if labels_are == "choice" else "classify"
    )
    if reader is not None and task == "classify" and isinstance(examples[0].label, tuple):  # by an option
        task = "multilabel"
    return Dataset(name, classes, examples, bad, notes, labels is not None or reader is not None, drawn, task)


def names_of(examples: Iterable[Example]) -> Iterator[str]:
    """The names in the labels of examples."""
    return (name for example in examples for name in names_in(example.label))


def refuse_classes(labels_are: str, labels: Sequence[str] | None, merge_labels: bool) -> None:
    kind = LABEL_KINDS[labels_are]
    if labels_are == "number" and (labels is not None or merge_labels):
        raise DataError("scores are numbers, and have no classes: leave out --classes and --merge-labels")
    if labels_are == "choice" and (labels is not None or merge_labels):
        raise DataError("choices have no classes: leave out --classes and --merge-labels")
    if not kind.named and labels is not None:
        raise DataError(f"a label is {kind.is_a}, and has no classes: leave out --classes")
    if kind.listed and merge_labels:
        raise DataError("--merge-labels is for texts of one label each: leave it out")


def existing(source: str | Path) -> Path:
    if not Path(source).is_file():
        near = get_close_matches(str(source).partition(":")[0], READERS, n=1)
        names = f"did you mean {near[0]}?" if near else f"nor one of {', '.join(READERS)}"
        what = "a folder" if Path(source).is_dir() else "not a file"
        raise DataError(f"no such data: {str(source)!r} is {what}; {names}")
    return Path(source)


def existing_path(path: str | Path, corpus: str, folder: bool) -> Path:
    if Path(path).is_dir() and not folder:
        raise DataError(f"--data-path {path} is a folder, and {corpus} is one file: give that")
    if not Path(path).exists():
        raise DataError(f"no such data: {str(path)!r} (--data-path) is no file{' and no folder' * folder}")
    return Path(path)


def with_last_fifth(examples: list[Example]) -> tuple[list[Example], list[str]]:
    """The last fifth of the rows as dev, the others as train, as Keras does (`validation_split=0.2`)."""
    first = int(len(examples) * 0.8)
    found = [replace(one, split="train" if number < first else "dev") for number, one in enumerate(examples)]
    return found, [f"no split column: the last {len(examples) - first} of {len(examples)} rows are dev; no test split"]


def with_splits(examples: list[Example], seed: int) -> tuple[list[Example], list[str]]:
    """The examples with the splits that they lack, drawn at random, and notes that say so."""
    sizes = Counter(example.split for example in examples)
    by_class = ", class by class" if any(isinstance(example.label, str) for example in examples) else ""
    if sizes[""]:
        note = f"no split column: split at random into 80 % train, 10 % dev and 10 % test{by_class} (seed {seed})"
        return draw_splits(examples, {"dev": 0.1, "test": 0.1}, seed), [note]
    notes = [f"no {split} split" for split in SPLITS if examples and not sizes[split]]
    if sizes["train"] and not sizes["dev"]:
        train = iter(draw_splits([example for example in examples if example.split == "train"], {"dev": 0.1}, seed))
        examples = [next(train) if example.split == "train" else example for example in examples]
        if any(example.split == "dev" for example in examples):  # there are enough to draw from
            notes[0] = f"no dev split: 10 % of train drawn for it at random{by_class} (seed {seed})"
    return examples, notes
