"""Training examples to be left out, by their ids."""

import csv
from dataclasses import replace
from pathlib import Path

from .dataset import DataError, Dataset


def without(data: Dataset, listed: Path) -> Dataset:
    """The data without the training examples in a CSV file, such as `suspects.csv`.

    Its columns are `id`, and perhaps `split`: rows of other splits are ignored. DataError where there is no column
    `id`, or no training example of that id.
    """
    there = {example.id for example in data.split("train")}
    ids = set()
    with listed.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if "id" not in (rows.fieldnames or ()):
            raise DataError(f"{listed} has no column 'id': it should list training texts of {data.name} by their ids")
        for row in rows:
            if row.get("split", "train") != "train":
                continue
            if row["id"] not in there:
                raise DataError(f"{listed}:{rows.line_num}: no training text of {data.name} has the id {row['id']!r}")
            ids.add(row["id"])
    kept = [example for example in data.examples if example.split != "train" or example.id not in ids]
    note = f"{len(ids)} training texts left out, listed in {listed.name}"
    return replace(data, examples=kept, notes=[*data.notes, note])
