"""The pairs of the JRTE corpus: does one sentence of a hotel review entail another?

Source: Hayashibe, "Japanese Realistic Textual Entailment Corpus", LREC 2020;
https://github.com/megagonlabs/jrte-corpus, licence CC BY-NC-SA 4.0 (not for commercial use).

A row is: id, label (1 entailed, 0 not), hypothesis, premise, judges' votes as JSON, their reasons as JSON, split; with
tabs between them, without a header and without quoting. The votes are {"0": 1, "1": 4}, or a list of such where they
were asked several times, which we add up, or null.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from .dataset import SPLITS, Example
from .distributed import File
from .reader import Card, Parse, Repository, of_repository, one_of, read_each
from .rows import RowError, Rows, listed

NAMES = {"0": "non-entailment", "1": "entailment"}
REPOSITORY = Repository(
    "megagonlabs/jrte-corpus",
    "fa164496fccfa393cd400cd86b96efeea62d69d2",
    {
        "surf": ("data/rte.lrec2020_surf.tsv", "027a6eded837df7e15c1063f535bfea9ada8a361"),
        "sem_short": ("data/rte.lrec2020_sem_short.tsv", "9cd8cdc21cdee1e4f0904f1fefa018db74e195ed"),
        "sem_long": ("data/rte.lrec2020_sem_long.tsv", "ee457862fed2cdd53593b3d7f23871088fc511b9"),
        "me": ("data/rte.lrec2020_me.tsv", "d706b2d5c562902c7e8c4afd6ddf1c8c3246291e"),
        "mlm": ("data/rte.lrec2020_mlm.tsv", "1036f5772e1d756b36ee6149192bb39820a0e2dc"),
    },
)
BASE = ("surf", "sem_short", "sem_long")
CARD = Card(
    "classify",
    "whether a sentence of a hotel review entails another",
    "19,602 / 5,602 / 2,830",
    "CC BY-NC-SA 4.0",
    "Hayashibe, LREC 2020; https://github.com/megagonlabs/jrte-corpus",
)
Part = Literal["base", "surf", "sem_short", "sem_long", "me", "mlm", "all"]


def read_jrte_rte(path: Path, part: Part = "base") -> Rows:
    """Premise and hypothesis. `part`: a file, or the three that the paper calls BASE, or all five."""
    paths = REPOSITORY.paths()
    parts = {"base": BASE, "all": tuple(paths)}.get(part, (part,))
    return read_each(path, {name: paths[name] for name in parts}, open_file)


def open_file(_: str, file: File) -> tuple[Iterable[tuple[int, str]], Parse]:
    return enumerate(file.lines(), start=1), parse


def parse(_: int, raw: str) -> Example:
    columns = raw.split("\t")
    if len(columns) != 7:
        names = "id, label, hypothesis, premise, votes, reasons, split"
        raise RowError(f"{len(columns)} tab-separated columns instead of 7 ({names})")
    id_, label, hypothesis, premise, votes, _reasons, split = columns
    if not hypothesis.strip() or not premise.strip():
        raise RowError("the hypothesis or the premise (columns 3 and 4) is empty")
    if split not in SPLITS:
        raise RowError(f"split {split!r} (column 7) is not one of {listed(SPLITS)}")
    return Example(id_, premise, NAMES[one_of(label, NAMES, "2")], split, votes_of(votes), hypothesis)


def votes_of(votes: str) -> dict[str, int] | None:
    """{"0": 1, "1": 2}, or a list of such → {"non-entailment": 1, "entailment": 2}; null → None."""
    try:
        told = json.loads(votes)
    except (ValueError, RecursionError):
        told = ""
    rounds = [] if told is None else told if isinstance(told, list) else [told]
    counts: Counter[str] = Counter()
    for one in rounds:
        right = isinstance(one, dict) and one.keys() <= NAMES.keys()
        if not right or not all(type(count) is int and count >= 0 for count in one.values()):
            raise RowError('the votes (column 5) are not JSON like {"0": 1, "1": 2}')
        counts.update(one)
    return {name: counts[code] for code, name in NAMES.items() if code in counts} or None


JRTE_RTE = of_repository("jrte-rte", read_jrte_rte, tuple(NAMES.values()), REPOSITORY, CARD)
