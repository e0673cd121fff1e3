"""The answer to a question: a stretch of its context.

Devlin et al. 2019 (arXiv:1810.04805), section 4.2: a logit for each token to be the first of the answer, and one to be
the last; the best stretch has the largest sum of the two. Of a long context, a window without the whole answer is
learned as one whose answer is its first token, [CLS].

Scores are those of JSQuAD (Kurihara et al. 2022; github.com/yahoojapan/JGLUE, fine-tuning/patch): exact match, and F1
of characters, in lower case and without 。 at the end, each with the right answer that is nearest.

Letters: n questions, W windows, S tokens of the longest window.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from ...data.dataset import Dataset, Example, Found, Span
from ...model.heads import SpanHead
from .tokens import TokenLogits, TokenTask, Windows, trimmed

ENDS = ("start", "end")
LONGEST = 64  # characters of an answer, where no training texts tell
TOO_LONG, TOO_SHORT, SHIFTED, ELSEWHERE, NO_ANSWER = "too long", "too short", "shifted", "elsewhere", "no answer"
SORTS = (TOO_LONG, TOO_SHORT, SHIFTED, ELSEWHERE, NO_ANSWER)  # of wrong answers


class Extract(TokenTask):
    """`longest` is that of the training answers, in characters; none that is told is longer."""

    name = "span"
    head = SpanHead
    best = "character_f1"
    labels_are = "answers"
    pairs = True
    longest = LONGEST

    def __init__(self, labels: Sequence[str] = ENDS) -> None:
        super().__init__(labels)
        if len(self.labels) != len(ENDS):
            raise ValueError(f"a stretch has a start and an end, and this model gives {len(self.labels)} logits")

    @staticmethod
    def fits(label: Any) -> bool:
        return isinstance(label, tuple) and bool(label) and all(isinstance(one, Span) for one in label)

    @classmethod
    def of(cls, data: Dataset) -> Self:
        if without := next((e for e in data.examples if e.pair is None), None):
            raise ValueError(f"the question {without.id!r} of {data.name} has no context: give each (--pair-column)")
        task = cls()
        task.longest = max(span.end - span.start for e in data.split("train") for span in e.label)
        return task

    def restore(self, kept: Mapping[str, Any]) -> None:
        super().restore(kept)
        self.longest = int(kept.get("longest", self.longest))

    def kept(self) -> dict[str, Any]:
        return super().kept() | {"longest": self.longest}

    def texts_and_questions(self, examples: Sequence[Example]) -> tuple[list[str], list[str] | None]:
        return [example.pair or "" for example in examples], [example.text for example in examples]

    def laid(self, targets: Sequence[Example], encodings: Windows) -> np.ndarray:
        """(W, 2) where the first of the right answers begins and ends in each window; 0 where it is not whole there."""
        rows = np.zeros((len(encodings), 2), dtype=np.float32)
        last = np.append(np.diff(encodings.owners) != 0, True)  # whether a window is the last of its text
        for window, number in enumerate(encodings.owners):
            span, (starts, ends) = targets[number].label[0], encodings.offsets_in(window).T
            touched = np.flatnonzero((starts < span.end) & (ends > span.start))
            if (
                len(touched)
                and (encodings.begins[window] == 0 or starts[0] <= span.start)
                and (last[window] or ends[-1] >= span.end)
            ):
                rows[window] = encodings.places[window] + touched[[0, -1]]
        return rows

    def summary(self, targets: Sequence[Example], encodings: Windows) -> str:
        """How many answers cannot be learned or told as they are."""
        whole, exact = np.zeros((2, len(targets)), dtype=bool)
        for window, (first, last) in enumerate(self.laid(targets, encodings).astype(int)):
            if first:
                number, offsets = encodings.owners[window], encodings.offsets_in(window)
                first, last = (first, last) - encodings.places[window]
                span = targets[number].label[0]
                whole[number] = True
                exact[number] |= trimmed(targets[number].pair or "", offsets[first, 0], offsets[last, 1]) == span[:2]
        said = []
        if inside := int((whole & ~exact).sum()):
            said.append(f"{inside} answers begin or end inside a token, and cannot be told exactly")
        if lost := int((~whole).sum()):
            said.append(f"{lost} answers stand whole in no window, and are not learned")
        if long := sum(min(len(text_of(e, one)) for one in e.label) > self.longest for e in targets):
            said.append(f"{long} answers are longer than {self.longest} characters, as none is told")
        return f" ({'; '.join(said)})" if said else ""

    def answers(self, logits: TokenLogits) -> list[tuple[Span, ...]]:
        """The best stretch of each context, with its softmax over all stretches; none of a context without tokens."""
        best: list[tuple[float, tuple[int, int] | None]] = [(-np.inf, None)] * len(logits)
        totals = np.full(len(logits), -np.inf)
        windows = logits.windows
        for window, number in enumerate(windows.owners):
            starts, ends = windows.offsets_in(window).T
            place = windows.places[window]
            rows = logits.rows[window, place : place + len(starts)].astype(np.float64)
            lengths = ends - starts[:, None]  # (S, S) of the stretch from one token to another
            allowed = np.triu((lengths > 0) & (lengths <= self.longest)) & ((ends > starts) & (ends > starts)[:, None])
            if not allowed.any():
                continue
            scores = np.where(allowed, rows[:, :1] + rows[:, 1], -np.inf)
            first, last = np.unravel_index(scores.argmax(), scores.shape)
            top = scores[first, last]
            totals[number] = np.logaddexp(totals[number], top + np.log(np.exp(scores - top).sum()))
            if top > best[number][0]:
                best[number] = top, trimmed(windows.texts[number], int(starts[first]), int(ends[last]))
        return [
            (Found.of(*stretch, "", float(np.exp(top - total))),) if stretch else ()
            for (top, stretch), total in zip(best, totals, strict=True)
        ]

    def measure(self, logits: TokenLogits, targets: Sequence[Example]) -> dict[str, float]:
        """The mean of both cross-entropies of a window, and of the questions exact match and F1."""
        if not len(targets):
            raise ValueError("nothing to measure: there is no example")
        gold = self.laid(targets, logits.windows).astype(int)
        rows = logits.rows.astype(np.float64)
        rows -= rows.max(axis=1, keepdims=True)  # (W, S, 2)
        losses = np.log(np.exp(rows).sum(axis=1)) - np.take_along_axis(rows, gold[:, None], axis=1)[:, 0]
        told = [text_of(e, spans[0]) if spans else "" for e, spans in zip(targets, self.answers(logits), strict=True)]
        right = [[text_of(e, span) for span in e.label] for e in targets]
        return {
            "loss": float(losses.mean()),
            "exact_match": float(np.mean([best_of(exact_match, *one) for one in zip(told, right, strict=True)])),
            "character_f1": float(np.mean([best_of(character_f1, *one) for one in zip(told, right, strict=True)])),
        }


def text_of(example: Example, span: Span) -> str:
    return (example.pair or "")[span.start : span.end]


def best_of(score: Any, told: str, right: Sequence[str]) -> float:
    """With the right answer that is nearest."""
    return max(score(told, one) for one in right)


def normal(answer: str) -> str:
    return " ".join(answer.lower().rstrip("。").split())


def exact_match(told: str, right: str) -> float:
    return float(normal(told) == normal(right))


def character_f1(told: str, right: str) -> float:
    one, other = normal(told), normal(right)
    if not one or not other:
        return float(one == other)
    same = (Counter(one) & Counter(other)).total()
    return 2 * same / (len(one) + len(other))


def near(right: Sequence[Span], told: Sequence[Span]) -> Span:
    """The right answer that shares most with what was told, or else is nearest to it; the first, if nothing was."""
    if not told:
        return right[0]
    return max(right, key=lambda one: min(one.end, told[0].end) - max(one.start, told[0].start))


def sort_of(right: Sequence[Span], told: Sequence[Span]) -> str:
    """One of SORTS: how an answer, if there is one, differs from the right one that is near."""
    if not told:
        return NO_ANSWER
    one = near(right, told)
    if min(one.end, told[0].end) <= max(one.start, told[0].start):
        return ELSEWHERE
    before, behind = told[0].start - one.start, told[0].end - one.end
    return TOO_LONG if before <= 0 <= behind else TOO_SHORT if behind <= 0 <= before else SHIFTED
