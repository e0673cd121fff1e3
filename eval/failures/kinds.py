"""What the page of mistakes has for each task: which answers are listed, what is coloured, and which panels it has.

Letters: n examples of a split, C columns of logits.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from operator import ne
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from ...data.dataset import Example
from ...model.model import Model
from ...tokenize.encoding import EncodedBatch
from ..judge import Judgement
from ..plots import most_confused
from ..tasks.metrics import scores_of_ranks
from ..tasks.multilabel import HALF, Multilabel
from ..tasks.similarity import Similarity
from ..tasks.task import Task
from ..yardsticks import OVERLAP
from .attribution import one_logit_a_sequence
from .pictures import reliability, scatter_of
from .slices import (
    PAIR_RULES,
    ResidualRow,
    Rule,
    SliceRow,
    Text,
    gold_rules,
    overlap_rules,
    residual_table,
    search,
    table,
)

SHOWN = 15  # of the most confident errors, and of the least confident hits
RESIDUALS = 100  # of a split, the largest ones
EXCHANGES = 10  # of two labels, the most frequent ones
LABELS = 10  # of those that are never found, in a sentence
POINTS = 2_000  # of a picture
CONFUSED = "Of {n} labels the {some} of the most frequent confusions are in the table."
CHOSEN_WRONGLY = (
    "On {split} {wrong} of {n} questions are answered wrongly: accuracy {score} (95 % interval {low} to {high})."
)
NO_BETTER_THAN_CHANCE = "On {split} it is not shown that the model is better than chance, {chance}."
OVERLAP_BETTER = (
    "On {split} the choice that shares most bigrams with the question is right as often or more: accuracy {other} "
    "against {score}."
)
CORRELATED = (
    "On {split} answers and labels of {n} texts correlate by {pearson} (Pearson) and {spearman} (Spearman); answers "
    "are off by {mae} on average, and {bias} is the mean of answer minus label."
)
SIMPLE_AS_NEAR = (
    "On {split} a simple answer is as near to the labels or nearer ({name}): off by {other} on average against {mae}."
)
ORDERED_AS_WELL = (
    "On {split} a simple answer orders the pairs as well or better ({name}): Spearman {other} against {spearman}."
)
BY_RANK = "On {split} each answer counts as the score of the same rank, since cosines were not learned as scores."
NEVER_FOUND = "On {split} the model finds no text of {k} of the {all} labels that there are: {labels}."
SETS_WRONG = (
    "On {split} {wrong} of {n} texts do not get exactly their labels: F1 {micro_f1} over all labels together, "
    "{macro_f1} as the mean of the labels."
)
SIMPLER_AS_GOOD = "On {split} a far simpler model is as good or better ({name}): micro F1 {other} against {micro_f1}."
FEW_ROWS = "Of {n} rows the {some} most frequent are here."
NO_LABEL = "–"
PROPS = ("precision", "recall", "f1", "support")

Fact = tuple[str, str, dict[str, Any]]  # a sentence, the section with the evidence, and values for the sentence
Tags = Mapping[str, np.ndarray]


class Kind:
    """The page of one task. What a method says of an example it says of classes, unless a task has its own."""

    metrics: tuple[str, ...] = ()  # in the table of scores
    panel: str | None = None  # a template for each split below that table
    fields: tuple[tuple[str, str], ...] = ()  # filters beside those for all tasks, and their titles
    orders: tuple[tuple[str, str], ...] = (
        ("split up", "split"), ("confidence down", "most sure first"), ("confidence up", "least sure first"),
        ("length up", "shortest first"), ("length down", "longest first"),
    )  # fmt: skip
    title, counted = "Errors", "{shown} of {all} errors"  # of their list
    colours = (
        "Coloured: what supports the prediction (yellow, underlined) and what opposes it (blue, dashed), by integrated "
        "gradients; below, by leaving each token out. j and k: next and previous error, t: its tags. Tags stay in this "
        "browser; several with commas."
    )
    slices_note = (
        "Texts of {splits}. p: Fisher's exact test, two-sided, corrected by Holm for all rules; for the search, "
        "one-sided and corrected for all that it tried. What it found is called by patterns of lemmas and parts of "
        "speech (品詞)."
    )
    omitted = "Of {n} errors on {split} the {some} that the model is surest of are coloured, the others are not."
    unshown = "Of {n} errors on {split} the {some} that the model is surest of are shown; all are in failures.jsonl."
    intervals_note: str | None = None
    nats = True  # whether the loss is a cross-entropy
    explains = True  # whether a column of logits is attributed to tokens, and near training texts are sought
    searches = True  # whether kinds of texts beyond the rules are sought

    def judged(self, judgement: Judgement) -> Judgement:
        """The judgement with answers that can be compared with the labels."""
        return judgement

    # ---- mistakes

    def wrong(self, judgement: Judgement) -> np.ndarray:
        """(n,) bool, whether an answer is listed."""
        return np.array(list(map(ne, judgement.gold, judgement.predicted)), dtype=bool)

    def weight(self, judgement: Judgement) -> np.ndarray:
        """(n,) how sure a wrong answer is, or how far off: the greatest are explained first."""
        return judgement.probabilities.max(axis=1)

    def column(self, judgement: Judgement) -> np.ndarray:
        """(n,) the column of logits that is explained."""
        return judgement.probabilities.argmax(axis=1)  # also where a neutral band decided otherwise

    def more(self, judgement: Judgement, number: int) -> dict[str, Any]:
        """What is said of an answer beyond label, prediction and probabilities, as JSON."""
        return {}

    def told(self, answer: Any, example: Example) -> str:
        """An answer or a label, as people read it (`Task.told`)."""
        return str(answer)

    def read(self, answer: Any) -> Any:
        """An answer or a label of `predictions-<split>.jsonl`, as judgements have it."""
        return answer

    # ---- what the model reads

    def seen(self, example: Example, column: int) -> Example:
        """The text, or the pair, from which a column of logits comes."""
        return example

    def encode(self, task: Task, tokenizer: Any, seen: Sequence[Example], **how: Any) -> EncodedBatch:
        return task.encode(tokenizer, seen, **how)

    def explaining(self, model: Model) -> AbstractContextManager[Any]:
        """A context in which the model's logits are those of the single sequences of `seen`."""
        return nullcontext()

    def explained(self, column: np.ndarray) -> np.ndarray:
        """(n,) the columns of logits there."""
        return column

    # ---- kinds of texts

    def text(self, example: Example) -> str:
        """What rules read."""
        return example.content

    def two(self, example: Example) -> tuple[str, str] | None:
        """The two texts that rules of pairs compare."""
        return None if example.pair is None else (example.text, example.pair)

    def known(self, example: Example) -> Any:
        """What rules read of its label: `Text.gold`."""
        return example.label

    def rules(self, texts: Sequence[Text], train: Sequence[Example]) -> list[Rule]:
        """Rules beside the built-in ones; `texts` are all that the table is about, `train` may be empty."""
        return [*PAIR_RULES, *overlap_rules(texts)] if any(text.parts for text in texts) else []

    def slices(
        self, judgements: Sequence[Judgement], texts: Sequence[Text], tags: Tags
    ) -> tuple[Sequence[SliceRow | ResidualRow], list[SliceRow]]:
        """The rows by rule, and those by search."""
        wrong = np.concatenate([self.wrong(judgement) for judgement in judgements])
        return [row for row in table(tags, wrong) if row.n], search(texts, wrong, tags)

    # ---- panels

    def part(self, judgement: Judgement, translate: Any) -> dict[str, Any]:
        """What the panels show of a split."""
        return {}

    def intervals(self, judgement: Judgement) -> dict[str, tuple[float, float]]:
        """Metric → its 95 % interval, where it is simple; that of classes is in statistics.py."""
        return {}

    def facts(self, judgement: Judgement, beside: Mapping[str, Mapping[str, float]]) -> Iterator[Fact]:
        """What the figures of a split say; `beside` are the scores of simple answers (yardsticks.py)."""
        yield from ()


def confident_parts(kind: Kind, judgement: Judgement, translate: Any, calibrated: bool) -> dict[str, Any]:
    """The panels on confidence of a split whose probabilities exclude each other."""
    sure, wrong = judgement.probabilities.max(axis=1), kind.wrong(judgement)
    told = zip(sure.tolist(), judgement.examples, judgement.gold, judgement.predicted, strict=True)
    rows = [{"p": p, "gold": gold, "predicted": answer, "text": kind.text(e)} for p, e, gold, answer in told]
    order = np.argsort(sure, kind="stable")
    return {
        "reliability": reliability(sure, ~wrong, translate) if calibrated else None,
        "sure_errors": [rows[i] for i in order[::-1] if wrong[i]][:SHOWN],
        "unsure_hits": [rows[i] for i in order if not wrong[i]][:SHOWN],
    }


def share_of_right(wrong: np.ndarray) -> tuple[float, float]:
    """The 95 % interval (Wilson 1927) of the share of n answers that are right."""
    low, high = binomtest(int((~wrong).sum()), len(wrong)).proportion_ci(method="wilson")
    return float(low), float(high)


class Classes(Kind):
    metrics = ("accuracy", "f1", "loss", "ece")
    panel = "classes.html"
    fields = (("gold", "label"), ("predicted", "prediction"))
    intervals_note = "In brackets: 95 % intervals, by resampling the texts (bootstrap)."

    def part(self, judgement: Judgement, translate: Any) -> dict[str, Any]:
        """The confusion matrix, the scores of each label, and what confidence is worth."""
        labels, gold, predicted = judgement.labels, judgement.gold, judgement.predicted
        confused = most_confused(gold, predicted, labels)
        matrix = confusion_matrix(gold, predicted, labels=confused).tolist()
        of_labels = precision_recall_fscore_support(gold, predicted, labels=labels, zero_division=0)
        calibrated = judgement.split != "train" and judgement.metrics["ece"] is not None
        return {
            "labels": labels,
            "confusion": {
                one: dict(zip(confused, row, strict=True)) for one, row in zip(confused, matrix, strict=True)
            },
            "unconfused": translate(CONFUSED, some=len(confused), n=len(labels)) if len(confused) < len(labels) else "",
            "of_labels": {
                label: dict(zip(PROPS, values, strict=True))
                for label, *values in zip(labels, *(part.tolist() for part in of_labels), strict=True)
            },
        } | confident_parts(self, judgement, translate, calibrated)


class Choices(Kind):
    """A question with the choice that was taken is coloured, and compared with training questions and their answers."""

    metrics = ("accuracy", "loss")
    orders = (Kind.orders[1], Kind.orders[2], Kind.orders[0], *Kind.orders[3:])
    intervals_note = "In brackets: 95 % intervals (Wilson 1927)."
    colours = (
        "Coloured, in the question and in the choice that was taken below it: what supports that choice (yellow, "
        "underlined) and what opposes it (blue, dashed), by integrated gradients; below, by leaving each token out. j "
        "and k: next and previous error, t: its tags. Tags stay in this browser; several with commas."
    )
    slices_note = (
        "Questions of {splits}; overlap is that of the question with its right choice. p: Fisher's exact test, "
        "two-sided, corrected by Holm for all rules; for the search, one-sided and corrected for all that it tried. "
        "What it found is called by patterns of lemmas and parts of speech (品詞)."
    )

    def more(self, judgement: Judgement, number: int) -> dict[str, Any]:
        example = judgement.examples[number]
        return {"question": example.text, "choices": list(example.choices or ())}

    def seen(self, example: Example, column: int) -> Example:
        return Example(example.id, example.text, example.label, example.split, pair=(example.choices or ())[column])

    def encode(self, task: Task, tokenizer: Any, seen: Sequence[Example], **how: Any) -> EncodedBatch:
        return Task.encode(task, tokenizer, seen, **how)

    def explaining(self, model: Model) -> AbstractContextManager[Any]:
        return one_logit_a_sequence(model)

    def explained(self, column: np.ndarray) -> np.ndarray:
        return np.zeros_like(column)

    def text(self, example: Example) -> str:
        return example.text

    def two(self, example: Example) -> tuple[str, str]:
        return example.text, (example.choices or ())[example.label]

    def rules(self, texts: Sequence[Text], train: Sequence[Example]) -> list[Rule]:
        return overlap_rules(texts, ("overlap with the right choice", "正解の選択肢との重なり"))

    def part(self, judgement: Judgement, translate: Any) -> dict[str, Any]:
        return confident_parts(self, judgement, translate, judgement.split != "train")

    def intervals(self, judgement: Judgement) -> dict[str, tuple[float, float]]:
        return {"accuracy": share_of_right(self.wrong(judgement))}

    def facts(self, judgement: Judgement, beside: Mapping[str, Mapping[str, float]]) -> Iterator[Fact]:
        score, (low, high) = float(judgement.metrics["accuracy"] or 0), self.intervals(judgement)["accuracy"]
        n, wrong, chance = len(judgement.examples), int(self.wrong(judgement).sum()), 1 / judgement.task.parts
        numbers = {"split": judgement.split, "score": f"{score:.3f}", "low": f"{low:.3f}", "high": f"{high:.3f}"}
        yield CHOSEN_WRONGLY, "scores", numbers | {"wrong": wrong, "n": n}
        if low <= chance:
            yield NO_BETTER_THAN_CHANCE, "scores", {"split": judgement.split, "chance": f"{chance:.3f}"}
        if (other := beside.get(OVERLAP, {}).get("accuracy", -1.0)) >= score:
            yield OVERLAP_BETTER, "scores", numbers | {"other": f"{other:.3f}"}


class Scores(Kind):
    """All answers are off by something, so that the largest residuals are listed."""

    metrics: tuple[str, ...] = ("pearson", "spearman", "mae", "loss")
    panel = "scores.html"
    orders = (
        ("confidence down", "largest residual first"), ("residual down", "furthest above its label first"),
        ("residual up", "furthest below its label first"), *Kind.orders[:1], *Kind.orders[3:],
    )  # fmt: skip
    title, counted = "Largest residuals", "{shown} of {all} answers"
    colours = (
        "Coloured: what raises the score (yellow, underlined) and what lowers it (blue, dashed), by integrated "
        "gradients; below, by leaving each token out. j and k: next and previous answer, t: its tags. Tags stay in "
        "this browser; several with commas."
    )
    slices_note = (
        "Texts of {splits}. Bias: the mean of the residuals, answer minus label. p: the test of Mann and Whitney of "
        "their sizes against those of the other texts, two-sided, corrected by Holm for all rules."
    )
    omitted = "Of {n} residuals on {split} the {some} largest are coloured, the others are not."
    nats = False
    searches = False

    def residuals(self, judgement: Judgement) -> np.ndarray:
        """(n,) answer minus label."""
        return np.array(judgement.predicted, dtype=float) - np.array(judgement.gold, dtype=float)

    def wrong(self, judgement: Judgement) -> np.ndarray:
        sizes = self.weight(judgement)
        listed = np.zeros(len(sizes), dtype=bool)
        listed[np.argsort(-sizes, kind="stable")[:RESIDUALS]] = True
        return listed & (sizes > 0)

    def weight(self, judgement: Judgement) -> np.ndarray:
        return abs(self.residuals(judgement))

    def column(self, judgement: Judgement) -> np.ndarray:
        return np.zeros(len(judgement.examples), dtype=np.int64)

    def more(self, judgement: Judgement, number: int) -> dict[str, Any]:
        return {"residual": round(float(self.residuals(judgement)[number]), 6)}

    def told(self, answer: Any, example: Example) -> str:
        return f"{answer:.4g}"

    def rules(self, texts: Sequence[Text], train: Sequence[Example]) -> list[Rule]:
        return [*super().rules(texts, train), *gold_rules(texts)]

    def slices(
        self, judgements: Sequence[Judgement], texts: Sequence[Text], tags: Tags
    ) -> tuple[list[ResidualRow], list[SliceRow]]:
        return residual_table(tags, np.concatenate([self.residuals(judgement) for judgement in judgements])), []

    def part(self, judgement: Judgement, translate: Any) -> dict[str, Any]:
        """The scatter of answers by labels, and the residuals."""
        n = len(judgement.examples)
        chosen = np.sort(np.random.default_rng(0).permutation(n)[:POINTS])
        gold, predicted = (np.array(some, dtype=float)[chosen] for some in (judgement.gold, judgement.predicted))
        few = translate("Of {n} texts {some} are drawn, at random.", n=n, some=POINTS) if n > POINTS else ""
        return {"scatter": scatter_of(gold, predicted, translate), "drawn": few}

    def facts(self, judgement: Judgement, beside: Mapping[str, Mapping[str, float]]) -> Iterator[Fact]:
        split, found, bias = judgement.split, judgement.metrics, float(self.residuals(judgement).mean())
        mae = float(self.weight(judgement).mean())
        numbers = {name: f"{found[name] or 0:.3f}" for name in ("pearson", "spearman")}
        numbers |= {"split": split, "mae": f"{mae:.3f}"}
        yield CORRELATED, "scores", numbers | {"n": len(judgement.examples), "bias": f"{bias:+.3f}"}
        for name, own in beside.items():
            if own and own.get("mae", np.inf) <= mae:
                yield SIMPLE_AS_NEAR, "scores", numbers | {"name": name, "other": f"{own['mae']:.3f}"}


class Similarities(Scores):
    """Scores of pairs whose texts are read apart, so that no logit is attributed to their tokens."""

    metrics = ("pearson", "spearman", "loss")
    explains = False
    colours = "j and k: next and previous answer, t: its tags. Tags stay in this browser; several with commas."

    def by_rank(self, judgement: Judgement) -> bool:
        assert isinstance(judgement.task, Similarity)
        return not judgement.task.head.calibrated

    def judged(self, judgement: Judgement) -> Judgement:
        if not self.by_rank(judgement):
            return judgement
        found, gold = (np.array(some, dtype=float) for some in (judgement.predicted, judgement.gold))
        return replace(judgement, predicted=scores_of_ranks(found, gold).tolist())

    def facts(self, judgement: Judgement, beside: Mapping[str, Mapping[str, float]]) -> Iterator[Fact]:
        if self.by_rank(judgement):
            yield BY_RANK, "scores", {"split": judgement.split}
        yield from super().facts(judgement, beside)
        spearman = float(judgement.metrics["spearman"] or 0)
        for name, own in beside.items():
            if own["spearman"] >= spearman:
                numbers = {"name": name, "other": f"{own['spearman']:.3f}", "spearman": f"{spearman:.3f}"}
                yield ORDERED_AS_WELL, "scores", {"split": judgement.split} | numbers


class LabelSets(Kind):
    """An answer is listed where it misses a label or tells one that is not there."""

    metrics = ("micro_f1", "macro_f1", "loss")
    panel = "labels.html"
    fields = (("missed", "missed label"), ("invented", "told, but not there"))
    orders = (("confidence down", "furthest from a threshold first"), *Kind.orders[:1], *Kind.orders[3:])
    colours = (
        "Coloured: what supports the label that is named with each text (yellow, underlined) and what opposes it "
        "(blue, dashed), by integrated gradients; below, by leaving each token out. It is the label whose probability "
        "is furthest on the wrong side of its threshold. j and k: next and previous error, t: its tags. Tags stay in "
        "this browser; several with commas."
    )
    slices_note = (
        "Texts of {splits}; an error is a text with any label missed or told in vain. p: Fisher's exact test, "
        "two-sided, corrected by Holm for all rules; for the search, one-sided and corrected for all that it tried. "
        "What it found is called by patterns of lemmas and parts of speech (品詞)."
    )
    omitted = "Of {n} errors on {split} the {some} furthest from a threshold are coloured, the others are not."
    unshown = "Of {n} errors on {split} the {some} furthest from a threshold are shown; all are in failures.jsonl."

    def sets(self, judgement: Judgement) -> tuple[np.ndarray, np.ndarray]:
        """(n, C) bool: which of the model's labels are there, and which are told."""
        told = np.array([[label in names for label in judgement.model_labels] for names in judgement.predicted])
        return judgement.task.targets(judgement.examples) > HALF, told.reshape(-1, len(judgement.model_labels))

    def off(self, judgement: Judgement) -> np.ndarray:
        """(n, C) how far a probability is on the wrong side of its threshold; below 0 on the right side."""
        assert isinstance(judgement.task, Multilabel)
        gold, told = self.sets(judgement)
        return np.where(gold != told, 1, -1) * abs(judgement.probabilities - judgement.task.thresholds)

    def wrong(self, judgement: Judgement) -> np.ndarray:
        gold, told = self.sets(judgement)
        return (gold != told).any(axis=1)

    def weight(self, judgement: Judgement) -> np.ndarray:
        return self.off(judgement).max(axis=1)

    def column(self, judgement: Judgement) -> np.ndarray:
        return self.off(judgement).argmax(axis=1)

    def more(self, judgement: Judgement, number: int) -> dict[str, Any]:
        gold, told = judgement.gold[number], judgement.predicted[number]
        known = judgement.model_labels
        return {
            "missed": [label for label in gold if label in known and label not in told],
            "invented": [label for label in told if label not in gold],
        }

    def told(self, answer: Any, example: Example) -> str:
        return "、".join(answer) or NO_LABEL

    def part(self, judgement: Judgement, translate: Any) -> dict[str, Any]:
        """Scores and threshold of each label, and which labels are told where others are missed."""
        assert isinstance(judgement.task, Multilabel)
        gold, told = self.sets(judgement)
        rows = precision_recall_fscore_support(gold, told, average=None, zero_division=0)
        if gold.shape[1] == 1:  # scikit-learn would take a single column for two classes
            rows = precision_recall_fscore_support(gold[:, 0], told[:, 0], labels=[True], zero_division=0)
        missed, vain = gold & ~told, told & ~gold
        exchanges = Counter(
            (judgement.model_labels[a], judgement.model_labels[b])
            for row, other in zip(missed, vain, strict=True)
            for a in np.flatnonzero(row)
            for b in np.flatnonzero(other)
        )
        columns = {name: part.tolist() for name, part in zip(PROPS, rows, strict=True)}
        columns |= {"threshold": judgement.task.thresholds.tolist()}
        columns |= {"missed": missed.sum(axis=0).tolist(), "invented": vain.sum(axis=0).tolist()}
        by_label = {
            label: {name: values[c] for name, values in columns.items()}
            for c, label in enumerate(judgement.model_labels)
        }
        few = translate(FEW_ROWS, n=len(exchanges), some=EXCHANGES) if len(exchanges) > EXCHANGES else ""
        return {"of_labels": by_label, "exchanges": exchanges.most_common(EXCHANGES), "few_exchanges": few}

    def facts(self, judgement: Judgement, beside: Mapping[str, Mapping[str, float]]) -> Iterator[Fact]:
        split, found = judgement.split, judgement.metrics
        gold, told = self.sets(judgement)
        numbers = {"split": split} | {name: f"{found[name] or 0:.3f}" for name in ("micro_f1", "macro_f1")}
        there, hit = gold.any(axis=0), (gold & told).any(axis=0)
        lost = np.array(judgement.model_labels)[there & ~hit].tolist()
        if lost:
            shown = ", ".join(lost[:LABELS] + ["…"] * (len(lost) > LABELS))
            yield NEVER_FOUND, "scores", numbers | {"k": len(lost), "all": int(there.sum()), "labels": shown}
        yield SETS_WRONG, "scores", numbers | {"wrong": int(self.wrong(judgement).sum()), "n": len(gold)}
        for name, own in beside.items():
            if own and own["micro_f1"] >= float(found["micro_f1"] or 0):
                yield SIMPLER_AS_GOOD, "scores", numbers | {"name": name, "other": f"{own['micro_f1']:.3f}"}
