"""What the page of mistakes has for stretches of texts: entities, and answers from a context."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...data.dataset import Example, Span
from ...data.label_kinds import label_line
from ..judge import Judgement
from ..tasks.span import best_of, exact_match, near, sort_of, text_of
from ..tasks.tag import counts_by_kind, mistakes
from .kinds import FEW_ROWS, NO_LABEL, Choices, Fact, Kind, Tags, share_of_right
from .slices import ResidualRow, Rule, SliceRow, Text, table

KINDS = 12  # of entities, in a table of confusions
ROWS = 30  # in that of what became of them
AROUND = 60  # characters of a context that are shown before and behind what is marked
ENTITIES_WRONG = (
    "On {split} {wrong} of {n} texts do not get exactly their entities: micro-F1 {micro_f1}, precision {precision}, "
    "recall {recall}."
)
FEW_KINDS = "Of {n} kinds the {some} most frequent are in the table of confusions."
ANSWERS_WRONG = (
    "On {split} {wrong} of {n} questions have no exact answer: exact match {exact_match} (95 % interval {low} "
    "to {high}), F1 of characters {character_f1}."
)
QUESTIONS = {  # kind of question, and in Japanese → the words that show it
    ("what", "何"): ("何", "なに", "なん"),
    ("who", "誰"): ("誰", "だれ"),
    ("when", "いつ"): ("いつ", "何年", "何月", "何日"),
    ("where", "どこ"): ("どこ", "何処"),
    ("how many", "いくつ"): ("いくつ", "何人", "何個", "いくら", "何回"),
    ("why", "なぜ"): ("なぜ", "何故", "どうして"),
    ("which", "どの"): ("どの", "どちら", "どれ"),
}


def places(spans: Sequence[Span]) -> set[tuple[int, int, str]]:
    return {(one.start, one.end, one.kind) for one in spans}


def marked(text: str, gold: Sequence[Span], told: Sequence[Span]) -> list[dict[str, str]]:
    """The text in pieces: what each is part of, and of what kinds."""
    edges = sorted({0, len(text), *(edge for one in (*gold, *told) for edge in (one.start, one.end))})
    pieces = []
    for start, end in pairwise(edges):
        own, some = ([one for one in spans if one.start <= start and end <= one.end] for spans in (gold, told))
        pieces.append({
            "text": text[start:end],
            "there": ", ".join(one.kind for one in own), "told": ", ".join(one.kind for one in some),
            "marks": " ".join(["there"] * bool(own) + ["told"] * bool(some)),
        })  # fmt: skip
    return pieces


class Stretches(Kind):
    """Marked in the text: what is there, and what was told. No logit is attributed: each token has its own."""

    explains = searches = False
    orders = (("confidence down", "most mistakes first"), *Kind.orders[:1], *Kind.orders[3:])
    colours = (
        "Underlined: what is there. Shaded: what was told. j and k: next and previous error, t: its tags. Tags stay in "
        "this browser; several with commas."
    )
    slices_note = "Texts of {splits}. p: Fisher's exact test, two-sided, corrected by Holm for all rules."

    def column(self, judgement: Judgement) -> np.ndarray:
        return np.zeros(len(judgement.examples), dtype=np.int64)

    def read(self, answer: Any) -> tuple[Span, ...]:
        return tuple(Span(one["start"], one["end"], one.get("kind", "")) for one in answer)

    def told(self, answer: Any, example: Example) -> str:
        return label_line(answer, example.text, example.pair) or NO_LABEL

    def two(self, example: Example) -> None:
        return None

    def slices(
        self, judgements: Sequence[Judgement], texts: Sequence[Text], tags: Tags
    ) -> tuple[Sequence[SliceRow | ResidualRow], list[SliceRow]]:
        wrong = np.concatenate([self.wrong(judgement) for judgement in judgements])
        return [row for row in table(tags, wrong) if row.n], []


class Entities(Stretches):
    metrics = ("micro_f1", "precision", "recall", "loss")
    panel = "entities.html"
    fields = (("missed", "missed label"), ("invented", "told, but not there"))
    unshown = "Of {n} errors on {split} the {some} with most mistakes are shown; all are in failures.jsonl."

    def wrong(self, judgement: Judgement) -> np.ndarray:
        both = zip(judgement.gold, judgement.predicted, strict=True)
        return np.array([places(gold) != places(told) for gold, told in both], dtype=bool)

    def weight(self, judgement: Judgement) -> np.ndarray:
        """How many entities are missed, or told in vain."""
        both = zip(judgement.gold, judgement.predicted, strict=True)
        return np.array([len(places(gold) ^ places(told)) for gold, told in both], dtype=float)

    def more(self, judgement: Judgement, number: int) -> dict[str, Any]:
        gold, told = judgement.gold[number], judgement.predicted[number]
        missed, invented = places(gold) - places(told), places(told) - places(gold)
        return {
            "marked": marked(judgement.examples[number].text, gold, told),
            "missed": sorted({kind for _, _, kind in missed}),
            "invented": sorted({kind for _, _, kind in invented}),
        }

    def known(self, example: Example) -> tuple[tuple[str, str], ...]:
        """What its entities are called, and their kinds."""
        return tuple((example.text[one.start : one.end], one.kind) for one in example.label)

    def rules(self, texts: Sequence[Text], train: Sequence[Example]) -> list[Rule]:
        """By the number of entities, and by whether training texts have the same ones."""
        learned = {one for example in train for one in self.known(example)}
        written = {text for text, _ in learned}
        of_training = [
            Rule("all entities in training", "固有表現がすべて訓練にある", "written the same, and of the same kind",
                 lambda text: bool(text.gold) and learned.issuperset(text.gold)),
            Rule("entity of another kind in training", "訓練では別の種類の固有表現", "written the same",
                 lambda text: any(one not in learned and one[0] in written for one in text.gold)),
            Rule("entity not in training", "訓練にない固有表現", "written the same, of any kind",
                 lambda text: any(one[0] not in written for one in text.gold)),
        ]  # fmt: skip
        return [
            *(of_training if learned else []),
            Rule("no entity", "固有表現なし", "by the label", lambda text: not text.gold),
            Rule("one entity", "固有表現が一つ", "by the label", lambda text: len(text.gold) == 1),
            Rule("several entities", "固有表現が二つ以上", "by the label", lambda text: len(text.gold) > 1),
        ]

    def part(self, judgement: Judgement, translate: Any) -> dict[str, Any]:
        """The scores of each kind, what was told in the place of which, and what became of what."""
        of_kinds = counts_by_kind(judgement.gold, judgement.predicted)
        sorts = mistakes(judgement.gold, judgement.predicted)
        confused = Counter({(kind, kind): one.right for kind, one in of_kinds.items()})
        for one, n in sorts.items():
            confused[one.gold or NO_LABEL, one.told or NO_LABEL] += n
        some = [*list(of_kinds)[:KINDS], NO_LABEL]
        rows = {
            kind: {**one._asdict(), "precision": one.precision, "recall": one.recall, "f1": one.f1}
            for kind, one in of_kinds.items()
        }
        return {
            "of_kinds": rows,
            "confusion": {own: {told: confused[own, told] for told in some} for own in some},
            "unconfused": translate(FEW_KINDS, n=len(of_kinds), some=KINDS) if len(of_kinds) > KINDS else "",
            "sorts": [(translate(one.what), one.kinds, n) for one, n in sorts.most_common(ROWS)],
            "unsorted": translate(FEW_ROWS, n=len(sorts), some=ROWS) if len(sorts) > ROWS else "",
        }

    def facts(self, judgement: Judgement, beside: Mapping[str, Mapping[str, float]]) -> Iterator[Fact]:
        numbers = {name: f"{judgement.metrics[name] or 0:.3f}" for name in ("micro_f1", "precision", "recall")}
        wrong = {"wrong": int(self.wrong(judgement).sum()), "n": len(judgement.examples)}
        yield ENTITIES_WRONG, "scores", numbers | wrong | {"split": judgement.split}


class Answers(Stretches):
    metrics = ("character_f1", "exact_match", "loss")
    panel = "answers.html"
    fields = (("sort", "how it is wrong"),)
    orders = Choices.orders
    intervals_note = Choices.intervals_note

    def exact(self, judgement: Judgement) -> list[float]:
        found = []
        for example, told in zip(judgement.examples, judgement.predicted, strict=True):
            right = [text_of(example, one) for one in example.label]
            found.append(max((best_of(exact_match, text_of(example, one), right) for one in told), default=0.0))
        return found

    def wrong(self, judgement: Judgement) -> np.ndarray:
        return np.array(self.exact(judgement)) < 1

    def weight(self, judgement: Judgement) -> np.ndarray:
        """How sure the model is of an answer."""
        return np.array([getattr(told[0], "probability", 0.0) if told else 0.0 for told in judgement.predicted])

    def more(self, judgement: Judgement, number: int) -> dict[str, Any]:
        example, told = judgement.examples[number], judgement.predicted[number]
        gold = [near(example.label, told)]
        start = max(0, min(one.start for one in (*gold, *told)) - AROUND)
        end = max(one.end for one in (*gold, *told)) + AROUND
        moved = [[Span(one.start - start, one.end - start) for one in spans] for spans in (gold, told)]
        pieces = marked((example.pair or "")[start:end], *moved)
        cut = [{"text": "…", "there": "", "told": "", "marks": ""}]
        return {
            "question": example.text,
            "marked": [*cut * (start > 0), *pieces, *cut * (end < len(example.pair or ""))],
            "sort": sort_of(gold, told),
        }

    def text(self, example: Example) -> str:
        return example.text

    def rules(self, texts: Sequence[Text], train: Sequence[Example]) -> list[Rule]:
        """By the question's word, and by the length of the first right answer."""
        words = [question_rule(*names, some) for names, some in QUESTIONS.items()]
        lengths = np.array([text.gold[0].end - text.gold[0].start for text in texts])
        middle = int(np.median(lengths))
        return [
            *words,
            Rule(f"answer of at most {middle} characters", f"答えが {middle} 字以下", "by the label",
                 lambda text: text.gold[0].end - text.gold[0].start <= middle),
            Rule("answer late in the context", "答えが文脈の 200 字目以降", "by the label",
                 lambda text: text.gold[0].start >= 200),
        ]  # fmt: skip

    def part(self, judgement: Judgement, translate: Any) -> dict[str, Any]:
        wrong = self.wrong(judgement)
        told = zip(judgement.gold, judgement.predicted, wrong, strict=True)
        sorts = Counter(sort_of(gold, some) for gold, some, bad in told if bad)
        return {"sorts": [(translate(sort), n) for sort, n in sorts.most_common()]}

    def intervals(self, judgement: Judgement) -> dict[str, tuple[float, float]]:
        return {"exact_match": share_of_right(self.wrong(judgement))}

    def facts(self, judgement: Judgement, beside: Mapping[str, Mapping[str, float]]) -> Iterator[Fact]:
        numbers = {name: f"{judgement.metrics[name] or 0:.3f}" for name in ("exact_match", "character_f1")}
        numbers |= zip(("low", "high"), (f"{end:.3f}" for end in self.intervals(judgement)["exact_match"]), strict=True)
        wrong = {"wrong": int(self.wrong(judgement).sum()), "n": len(judgement.examples)}
        yield ANSWERS_WRONG, "scores", numbers | wrong | {"split": judgement.split}


def question_rule(name: str, gloss: str, words: Sequence[str]) -> Rule:
    return Rule(name, gloss, "in the question", lambda text: any(word in text.text for word in words))
