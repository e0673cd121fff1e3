"""WRIME: posts of a social network, their feelings and sentiment as the writer and three readers judge them.

Source: Kajiwara et al., "WRIME: A New Dataset for Emotional Intensity Estimation with Subjective and Objective
Annotations", NAACL 2021; version 2, with sentiment: Suzuki et al., "A Japanese Dataset for Subjective and Objective
Sentiment Polarity Classification in Micro Blog Domain", LREC 2022. https://github.com/ids-cv/wrime, licence CC BY-NC-ND
4.0. Version 2 has 35,000 posts, 30,000 / 2,500 / 2,500.

A file is TSV with a header: Sentence, UserID, Datetime, Train/Dev/Test, and for Writer, Reader1, Reader2, Reader3 and
"Avg. Readers" the strengths (0 to 3) of eight feelings (Writer_Joy, …) and, in version 2, the sentiment (-2 to 2).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from .dataset import SPLITS, Example
from .reader import Card, Repository, number_in, of_repository, read_each, tables
from .rows import RowError, Rows, Unwanted, listed
from .table import cell, text_of

FEELINGS = ("Joy", "Sadness", "Anticipation", "Surprise", "Anger", "Fear", "Disgust", "Trust")
THREE = ("Reader1", "Reader2", "Reader3")
WEAK = 1  # strength of a feeling: 0 none, 1 weak, 2 medium, 3 strong
SENTIMENTS = ("negative", "neutral", "positive")
REPOSITORY = Repository(
    "ids-cv/wrime",
    "1ae1122d19545ef5a26a0e1a5bc490faeb96b0ea",
    {"all": ("wrime-ver2.tsv", "d2e6080cea7e6a8c76148716c12521a276671a77")},
)
CARD = Card(
    "classify",
    "sentiment of posts, their strongest feeling or all of them, by readers or the writer (version 2)",
    "30,000 / 2,500 / 2,500",
    "CC BY-NC-ND 4.0",
    "Kajiwara et al., NAACL 2021; Suzuki et al., LREC 2022; https://github.com/ids-cv/wrime",
)
Label = Literal["sentiment", "emotion", "emotions"]
View = Literal["readers", "writer"]
Neutral = Literal["drop", "keep"]


def labels(label: Label = "sentiment", view: View = "readers", neutral: Neutral = "drop") -> tuple[str, ...]:
    if label != "sentiment":
        return tuple(feeling.lower() for feeling in FEELINGS)
    return SENTIMENTS if neutral == "keep" else (SENTIMENTS[0], SENTIMENTS[2])


def read_wrime(path: Path, label: Label = "sentiment", view: View = "readers", neutral: Neutral = "drop") -> Rows:
    """Posts with one label of `labels`; in the readers' view with the votes of the three for labels that there are.

    Args:
        label: `sentiment`: positive above 0, negative below. `emotion`: the strongest of eight feelings, which a post
            without a feeling, or with two that are strongest, has not; of version 1 too. `emotions`: all feelings of at
            least strength 1 ("weak"), a set of labels, which may be empty.
        view: by the readers' average sentiment, or the sum or mean of their strengths; or by what the writer said.
        neutral: leave out posts of sentiment 0, or keep them as a class.
    """
    judges = THREE if view == "readers" else ("Writer",)
    kinds = ("Sentiment",) if label == "sentiment" else FEELINGS
    columns = [f"{judge}_{kind}" for judge in judges for kind in kinds]
    if label == "sentiment" and view == "readers":
        columns.append("Avg. Readers_Sentiment")
    names = labels(label, view, neutral)

    def parse(_: str, line: int, row: dict[str, Any]) -> Example:
        split = cell(row, "Train/Dev/Test")
        if split not in SPLITS:
            raise RowError(f"split {split!r} (column 'Train/Dev/Test') is not one of {listed(SPLITS)}")
        number = {column: number_in(row, column) for column in columns}
        text = text_of(row, "Sentence")
        if label != "sentiment":
            strengths = [[number[f"{judge}_{feeling}"] for feeling in FEELINGS] for judge in judges]
            if label == "emotions":
                means = [sum(of_one) / len(judges) for of_one in zip(*strengths, strict=True)]
                felt = tuple(name for name, mean in zip(names, means, strict=True) if mean >= WEAK)
                return Example(f"wrime-{line}", text, felt, split)
            each = [strongest(one) for one in strengths]
            whole = strongest([sum(of_one) for of_one in zip(*strengths, strict=True)])
        else:
            each = [sign(number[f"{judge}_Sentiment"]) for judge in judges]
            whole = sign(number[columns[-1]])
        if whole not in names:
            raise Unwanted("sentiment 0" if label == "sentiment" else "no feeling that is the strongest")
        votes = {name: each.count(name) for name in names if name in each} if view == "readers" else {}
        return Example(f"wrime-{line}", text, whole, split, votes or None)

    return read_each(path, REPOSITORY.paths(), tables(".tsv", ["Sentence", "Train/Dev/Test", *columns], parse))


def strongest(strengths: Sequence[float]) -> str:
    """The feeling of the highest strength; "" where there is none above 0, or two."""
    highest = max(strengths)
    return FEELINGS[strengths.index(highest)].lower() if highest > 0 and strengths.count(highest) == 1 else ""


def sign(sentiment: float) -> str:
    return SENTIMENTS[1 + (sentiment > 0) - (sentiment < 0)]


WRIME = of_repository("wrime", read_wrime, labels, REPOSITORY, CARD)
