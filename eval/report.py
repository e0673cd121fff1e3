"""A split's judgement → files of the run folder: metrics, predictions, classification report, confusion matrix."""

from collections.abc import Callable
from pathlib import Path

from scipy.stats import binomtest
from sklearn.metrics import classification_report

from ..data.label_kinds import label_json
from ..data.rows import shown
from .inside_lines import fill
from .judge import Judgement
from .plots import confusion_matrix, f1_of_kinds, scatter, write_picture
from .runs import write_json, write_jsonl, write_whole
from .tasks.tag import counts_by_kind, mistakes

# Task → its picture, drawn of gold and predicted answers, the labels and a title.
PICTURES: dict[str, tuple[str, Callable[..., bytes]]] = {
    "classify": ("confusion_matrix.png", confusion_matrix),
    "score": ("scatter.png", scatter),
    "tag": ("kinds.png", f1_of_kinds),
}


SHOWN = 6  # kinds of one sort of mistakes


def kinds_table(judgement: Judgement) -> str:
    """A line for each kind of entities, then one for each sort of mistakes."""
    lines = [f"{'kind':<20}{'precision':>11}{'recall':>9}{'F1':>9}{'entities':>10}{'told':>7}{'right':>7}"]
    for kind, one in counts_by_kind(judgement.gold, judgement.predicted).items():
        shares = f"{one.precision:>11.4f}{one.recall:>9.4f}{one.f1:>9.4f}"
        lines.append(f"{fill(shown(kind), 20)}{shares}{one.gold:>10}{one.told:>7}{one.right:>7}")
    wrong = mistakes(judgement.gold, judgement.predicted)
    lines += [""] if wrong else []
    for what in dict.fromkeys(one.what for one, _ in wrong.most_common()):
        some = [f"{one.kinds} {number}" for one, number in wrong.most_common() if one.what == what]
        few = ", ".join(some[:SHOWN]) + (f" and {len(some) - SHOWN} more" if len(some) > SHOWN else "")
        total = sum(number for one, number in wrong.items() if one.what == what)
        lines.append(f"{what} ({total}): {shown(few)}")
    return "\n".join(lines)


# Task → what its report has beside its scores.
TABLES: dict[str, Callable[[Judgement], str]] = {"tag": kinds_table}


def classification_table(judgement: Judgement) -> str:
    """scikit-learn's report and the remarks; of another task its scores."""
    if not judgement.labels:
        scores = [score_line(name, judgement) for name, value in judgement.metrics.items() if value is not None]
        more = ["", TABLES[judgement.task.name](judgement)] if judgement.task.name in TABLES else []
        return "\n".join(scores + more)
    labels = list(judgement.labels)
    table = classification_report(
        judgement.gold, judgement.predicted, labels=labels, target_names=[shown(label) for label in labels], digits=4,
        zero_division=0,
    )  # fmt: skip
    return "\n".join([table, *judgement.remarks])


def score_line(name: str, judgement: Judgement) -> str:
    """A score; of an accuracy also where it would lie with other texts (Wilson 1927, JASA 22, at 95 %)."""
    value, n = judgement.metrics[name], len(judgement.examples)
    if name == "examples":
        return f"{name:<12}{n:>10}"
    line = f"{name:<12}{value:>10.4f}"
    if name == "accuracy":
        right = round((value or 0) * n)
        low, high = binomtest(right, n).proportion_ci(method="wilson")
        line += f"  (95 %: {low:.4f} to {high:.4f})"
    return line


def write_metrics(run: Path, judgement: Judgement) -> None:
    """`<split>-metrics.json`, and `val-metrics.json` for the dev split."""
    name = "val" if judgement.split == "dev" else judgement.split
    write_json(run / f"{name}-metrics.json", judgement.metrics)


def write_predictions(run: Path, judgement: Judgement) -> None:
    """`predictions-<split>.jsonl`, a line for each example."""
    rows, columns = [], judgement.task.columns
    told = zip(judgement.gold, judgement.predicted, judgement.probabilities.tolist(), strict=True)
    for e, (gold, predicted, p) in zip(judgement.examples, told, strict=True):
        own, found = (label_json(label, e.text, e.pair) for label in (gold, predicted))
        row = {"id": e.id, "text": e.text, "label": own, "predicted": found}
        row |= {} if e.pair is None else {"pair": e.pair}
        row |= {} if e.votes is None else {"votes": e.votes}
        rows.append(row | ({"probabilities": dict(zip(columns(e), p, strict=True))} if p else {}))
    write_jsonl(run / f"predictions-{judgement.split}.jsonl", rows)


def write_report(run: Path, judgement: Judgement) -> str:
    """All files of the split that a run is evaluated on; returns the classification report."""
    write_metrics(run, judgement)
    write_predictions(run, judgement)
    table = classification_table(judgement)
    write_whole(run / "classification_report.txt", table)
    if judgement.task.name in PICTURES:
        name, draw = PICTURES[judgement.task.name]
        title = f"{judgement.split}: {len(judgement.examples)} texts"
        write_picture(run / name, draw, judgement.gold, judgement.predicted, judgement.labels, title)
    return table
