"""The JRTE corpus (pn.tsv): 5,553 sentences of hotel reviews with their sentiment, each judged by three people.

Source: Hayashibe, "Japanese Realistic Textual Entailment Corpus", LREC 2020;
https://github.com/megagonlabs/jrte-corpus, licence CC BY-NC-SA 4.0 (not for commercial use).

A row is: id, label (-1, 0 or 1), text, the judges' votes as JSON ({"0": 1, "1": 2}), split; with tabs between them,
without a header and without quoting.
"""

import json
from pathlib import Path

from .dataset import SPLITS, DataError, Example
from .download import cache_folder, download
from .reader import Card, read_each
from .rows import RowError, Rows, listed

NAMES = {"-1": "negative", "0": "normal", "1": "positive"}
LABELS = tuple(NAMES.values())
COMMIT = "fa164496fccfa393cd400cd86b96efeea62d69d2"
URL = f"https://raw.githubusercontent.com/megagonlabs/jrte-corpus/{COMMIT}/data/pn.tsv"
SHA256 = "7c3ab858d2b4e72563718d80bebc5fd75daf59c91993e712be45f2014c664c1f"
CARD = Card(
    "classify",
    "sentiment of hotel reviews: negative, normal or positive, with judges' votes",
    "3,888 / 1,112 / 553",
    "CC BY-NC-SA 4.0",
    "Hayashibe, LREC 2020; https://github.com/megagonlabs/jrte-corpus",
)


def fetch(url: str = URL, sha256: str = SHA256) -> Path:
    """pn.tsv in the cache folder, downloaded where it is not there yet."""
    try:
        return download(url, cache_folder() / "jrte" / "pn.tsv", sha256)
    except DataError as error:
        raise DataError(
            f"{error}: get data/pn.tsv from https://github.com/megagonlabs/jrte-corpus yourself "
            "(licence CC BY-NC-SA 4.0) and give it to finetune, evaluate or check_data as --data-path FILE"
        ) from error


def read_jrte(path: Path) -> Rows:
    return read_each(path, {"all": "data/pn.tsv"}, lambda _, file: (enumerate(file.lines(), start=1), parse))


def parse(line: int, raw: str) -> Example:
    columns = raw.split("\t")
    if len(columns) != 5:
        raise RowError(f"{len(columns)} tab-separated columns instead of 5 (id, label, text, votes, split)")
    id_, label, text, votes, split = columns
    if label not in NAMES:
        raise RowError(f"label {label!r} (column 2) is not one of {listed(NAMES)}")
    if not text.strip():
        raise RowError("the text (column 3) is empty")
    if split not in SPLITS:
        raise RowError(f"split {split!r} (column 5) is not one of {listed(SPLITS)}")
    return Example(id_, text, NAMES[label], split, parse_votes(votes))


def parse_votes(votes: str) -> dict[str, int]:
    """{"0": 1, "1": 2} → {"normal": 1, "positive": 2}; RowError for anything else."""
    try:
        counts = json.loads(votes)
    except (ValueError, RecursionError):
        counts = None
    if not isinstance(counts, dict) or not counts or not counts.keys() <= NAMES.keys():
        raise RowError(f'the votes (column 4) are not JSON from {listed(NAMES)} to numbers, like {{"0": 1, "1": 2}}')
    if not all(type(count) is int and count >= 0 for count in counts.values()):
        raise RowError("the votes (column 4) have a count that is not a whole number from 0")
    return {name: counts[code] for code, name in NAMES.items() if code in counts}
