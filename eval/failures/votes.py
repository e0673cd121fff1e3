"""Agreement of a classifier with the people who voted on the labels of the same texts (human label variation).

After Plank 2022, "The 'Problem' of Human Label Variation" (arXiv:2211.02570): where people disagree, a prediction other
than the label is not simply an error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """Shares of 1; None of no texts."""

    unanimous: float | None  # accuracy on texts with a unanimous vote
    unanimous_n: int
    divided: float | None  # accuracy on the others
    divided_n: int
    shared: float | None  # of the mistakes on both, those with at least one vote
    mistakes: int
    human: float | None  # accuracy of one judge on what two others agree on
    model: float | None  # accuracy of the model on the same
    human_n: int  # the number of such pairs
    left_out: int  # texts with fewer than two votes


def agreement(votes: Sequence[Mapping[str, int] | None], gold: Sequence[str], predicted: Sequence[str]) -> Agreement:
    """Compare predictions with the judges' votes, all by the names of the labels.

    For `human` each judge of a text with three votes is left out in turn; where the other two agree, their label is the
    truth for the third judge and the model. These texts are easier than all: compare `human` with `model`, not with
    accuracy.

    votes: of n texts, label → number of judges, or None. gold, predicted: n labels.
    """
    right: dict[bool, list[bool]] = {True: [], False: []}  # unanimous? → whether the prediction is right
    shared = []
    human, model, pairs, left_out = 0, 0, 0, 0
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
            others = {other for other in counts if counts[other] > (other == name)}  # without one judge of `name`
            if len(others) == 1:
                pairs += count
                human += count * (name in others)
                model += count * (answer in others)
    return Agreement(
        unanimous=share(right[True]), unanimous_n=len(right[True]), divided=share(right[False]),
        divided_n=len(right[False]), shared=share(shared), mistakes=len(shared), human=human / pairs if pairs else None,
        model=model / pairs if pairs else None, human_n=pairs, left_out=left_out,
    )  # fmt: skip


def share(answers: list[bool]) -> float | None:
    return sum(answers) / len(answers) if answers else None
