"""Rows of texts with their predictions: one after another, counted, and as the lines of a table, of JSON or of CSV."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ..data.dataset import DataError
from ..data.label_kinds import label_cell, label_json, label_line
from ..data.rows import SHOWN, shown
from ..data.texts import Row, Texts
from ..tokenize.encoding import what_was_cut
from .classifier import READ_AHEAD, Classifier, Prediction
from .predict import examples_of
from .runs import csv_line

Labelled = Iterable[tuple[Row, Prediction | None]]


def predictions(
    classifier: Classifier,
    rows: Iterable[Row],
    batch_size: int | None,
    read_ahead: int = READ_AHEAD,
    top_k: int | None = None,
    bad_rows: str = "error",
) -> Iterator[tuple[Row, Prediction | None]]:
    """Each row with its prediction, in order, a few batches at a time; None where there is nothing to label.

    DataError where a row has what the model does not take, or lacks it, unless bad_rows is `skip`.
    """
    rows = (fitting(classifier, row, bad_rows) for row in rows)
    while some := list(islice(rows, read_ahead * (batch_size or classifier.batch_size))):
        answers = classifier.stream([row.content for row in some if not row.reason], batch_size, read_ahead, top_k)
        for row in some:
            yield row, None if row.reason else next(answers)


def fitting(classifier: Classifier, row: Row, bad_rows: str) -> Row:
    """The row, or, where the model cannot answer it and bad_rows is `skip`, the reason why it has no label."""
    fault = "" if row.reason else classifier.task.fault(*examples_of([row.content]))
    if not fault:
        return row
    where = f"{row.place}: the row" if row.place else f"text {row.id}"
    if bad_rows != "skip":
        raise DataError(f"{where} {fault}" + " (--bad-rows skip labels the others)" * bool(row.place))
    return replace(row, reason=f"{where} {fault}", bad=True)


@dataclass
class Tally:
    """What went through: how many rows, which were not labelled and why, how many texts were cut."""

    max_length: int
    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    bad: int = 0
    shown: list[str] = field(default_factory=list)  # of the bad ones
    cut: int = 0
    tokens: int = 0  # of those that were cut, before
    longest: int = 0

    @property
    def unlabelled(self) -> int:
        return self.bad + self.reasons.total()

    def counting(self, rows: Labelled) -> Iterator[tuple[Row, Prediction | None]]:
        for row, prediction in rows:
            self.rows += 1
            if row.bad:
                self.bad += 1
                self.shown += [row.reason] if len(self.shown) < SHOWN else []
            elif row.reason:
                self.reasons[row.reason] += 1
            elif prediction and prediction.truncated:
                self.cut, self.tokens = self.cut + 1, self.tokens + prediction.tokens
                self.longest = max(self.longest, prediction.tokens)
            yield row, prediction

    def sentences(self) -> Iterator[str]:
        if self.cut:
            labelled = self.rows - self.unlabelled
            yield f"texts: {what_was_cut(labelled, self.cut, self.tokens, self.longest, self.max_length)}"
        for reason, number in self.reasons.items():
            yield f"{number} of {self.rows} rows not labelled: {reason}"
        if self.bad:
            more = f"; and {self.bad - len(self.shown)} more" if self.bad > len(self.shown) else ""
            yield f"{self.bad} of {self.rows} rows not labelled, as they cannot be read: {'; '.join(self.shown)}{more}"


# --- how answers are shown --------------------------------------------------------------------------------------


def table(rows: Labelled) -> Iterator[str]:
    for row, prediction in rows:
        text = " | ".join([row.text, *([] if row.pair is None else [row.pair]), *(row.choices or ())])
        if prediction is None:
            yield f"{'-':<10} {'-':<5}  {shown(text)}  (not labelled: {shown(row.reason)})"
            continue
        mark = f"  (cut: it has {prediction.tokens} tokens)" if prediction.truncated else ""
        share = f"{prediction.probability:.3f}" if prediction.label in prediction.probabilities else ""
        yield f"{label_line(prediction.label, row.text, row.pair) or '(none)':<10} {share:<5}  {shown(text)}{mark}"


def jsonl(rows: Labelled) -> Iterator[str]:
    for row, prediction in rows:
        pair = {} if row.pair is None else {"pair": row.pair}
        yield as_json({"id": row.id, "text": row.text} | pair | answer(row, prediction))


def answer(row: Row, prediction: Prediction | None) -> dict[str, Any]:
    """What JSON lines tell of one row."""
    if prediction is None:
        return {"predicted": None, "probabilities": {}, "truncated": None, "not_labelled": row.reason}
    return {
        "predicted": label_json(prediction.label, row.text, row.pair),
        "probabilities": prediction.probabilities,
        "truncated": prediction.truncated,
    }


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def file_lines(path: Path, rows: Labelled, columns: list[str] | None, labels: Sequence[str]) -> Iterator[str]:
    """The lines of --output: every row as it came, with columns added; DataError where one of them is there already."""
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        added = ["predicted", "probabilities", "truncated", "not_labelled"]
    else:
        added = ["predicted", *(f"probability_{label}" for label in labels), "truncated", "not_labelled"]
    refuse_taken(columns or (), added, "the source")
    if suffix != ".jsonl":
        yield line_of(suffix, [*(columns or ()), *added], "the header")
    for row, prediction in rows:
        if suffix == ".jsonl":
            refuse_taken(row.fields, added, row.place)
            yield as_json(row.fields | answer(row, prediction))
            continue
        told = [row.fields.get(column) for column in columns or ()]
        if prediction is None:
            told += [None] * (len(added) - 1) + [row.reason]
        else:
            shares = [f"{share:.6f}" for share in prediction.probabilities.values()]
            told += [label_cell(prediction.label, row.text, row.pair), *shares, prediction.truncated, None]
        yield line_of(suffix, told, row.place)


def refuse_columns(texts: Texts, output: Path) -> None:
    """DataError where the columns are not known before the rows, or two have one name."""
    if texts.columns is None and output.suffix.lower() != ".jsonl":
        raise DataError("JSON lines of a pipe may differ in their columns: write --output FILE.jsonl, or give a --file")
    for name, number in Counter(texts.columns or ()).items():
        if number > 1:
            raise DataError(f"there are {number} columns named {name!r}: give each its own, for --output")


def refuse_taken(columns: Iterable[str], added: Sequence[str], place: str) -> None:
    taken = [name for name in columns if name in added]
    if taken:
        raise DataError(f"{place} has a column {taken[0]!r} already, which --output would add: rename it there")


def line_of(suffix: str, values: Sequence[Any], place: str) -> str:
    """A line of CSV or TSV; texts as they are, other values as JSON writes them, None as nothing."""
    cells = ["" if value is None else value if isinstance(value, str) else as_json(value) for value in values]
    if suffix == ".tsv":
        if any(mark in cell for cell in cells for mark in "\t\n\r"):
            raise DataError(f"{place}: a .tsv cannot hold the tab or line break in a cell: write --output FILE.csv")
        return "\t".join(cells)
    return csv_line(cells)
