"""Training examples to be left out, by their ids."""

from dataclasses import replace
from pathlib import Path

from .dataset import DataError, Dataset
from .rows import RowError
from .table import cell, open_table


def without(data: Dataset, listed: Path) -> Dataset:
    """The data without the training examples in a table, such as `suspects.csv`.

    Its columns are `id`, and perhaps `split`: rows of other splits are ignored. DataError where there is no column
    `id`, or no training example of that id.
    """
    there = {example.id for example in data.split("train")}
    ids = set()
    table = open_table(listed)
    if "id" not in table.columns:
        raise DataError(f"{listed} has no column 'id': it should list training texts of {data.name} by their ids")
    for line, raw in table.records:
        if not raw:
            continue
        try:
            row = table.fields_of(line, raw)
            if row.get("split", "train") != "train":
                continue
            own = cell(row, "id")
        except RowError as error:
            raise DataError(f"{listed}:{line}: {error}") from error
        if own not in there:
            raise DataError(f"{listed}:{line}: no training text of {data.name} has the id {own!r}")
        ids.add(own)
    kept = [example for example in data.examples if example.split != "train" or example.id not in ids]
    note = f"{len(ids)} training texts left out, listed in {listed.name}"
    return replace(data, examples=kept, notes=[*data.notes, *table.notes, note])
