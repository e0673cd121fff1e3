"""A classifier beside the people who judged the same texts.

Where people do not agree, an answer other than the label is not simply a mistake (Plank 2022, "The 'Problem' of Human
Label Variation", arXiv:2211.02570).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """Shares of 1; None where there is nothing to take a share of."""

    unanimous: float | None  # accuracy on texts of which all judges say the same …
    unanimous_n: int  # … and their number
    divided: float | None  # accuracy on texts of which they do not …
    divided_n: int
    shared: float | None  # of the mistakes on both, those that at least one judge made too …
    mistakes: int
    human: float | None  # how often one judge says what two others agree on …
    model: float | None  # … and how often the model says it, …
    human_n: int  # … of so many times that two judges of three agree
    left_out: int  # texts without votes or with a single one


def agreement(votes: Sequence[Mapping[str, int] | None], gold: Sequence[str], predicted: Sequence[str]) -> Agreement:
    """Compare predictions with the judges' votes, all by the names of the labels.

    The human line: of a text with three votes, each judge in turn is left out. Where the other two agree, their label
    stands for the truth, which the third judge and the model either say or not. A text of three equal votes counts
    three times, one of two against one counts once (when that one is left out), one of three different votes never.
    The texts of the human line are thus easier than all, and the label on which accuracy rests had the third judge's
    vote too: compare `human` with `model`, not with accuracy.

    Args:
        votes: of n texts, label → number of judges; None for a text without votes.
        gold: n labels.
        predicted: n labels.
    """
    right: dict[bool, list[bool]] = {True: [], False: []}  # unanimous? → whether the prediction is right
    shared = []
    human, model, ways, left_out = 0, 0, 0, 0
    for counts, label, answer in zip(votes, gold, predicted, strict=True):
        counts = {name: count for name, count in (counts or {}).items() if count}
        judges = sum(counts.values())
        if judges < 2:
            left_out += 1
            continue
        right[len(counts) == 1].append(answer == label)
        if answer != label:
            shared.append(answer in counts)
        for name, count in counts.items() if judges == 3 else ():
            others = {other for other in counts if counts[other] > (other == name)}  # one judge for `name` left out
            if len(others) == 1:
                ways += count
                human += count * (name in others)
                model += count * (answer in others)
    return Agreement(
        unanimous=share(right[True]),
        unanimous_n=len(right[True]),
        divided=share(right[False]),
        divided_n=len(right[False]),
        shared=share(shared),
        mistakes=len(shared),
        human=human / ways if ways else None,
        model=model / ways if ways else None,
        human_n=ways,
        left_out=left_out,
    )


def share(answers: list[bool]) -> float | None:
    return sum(answers) / len(answers) if answers else None
