"""A split's judgement → files of the run folder: metrics, predictions, classification report, confusion matrix."""

from collections.abc import Callable
from pathlib import Path

from sklearn.metrics import classification_report

from .judge import Judgement
from .plots import confusion_matrix, scatter, write_picture
from .runs import write_json, write_jsonl, write_whole

# Task → its picture, drawn of gold and predicted answers, the labels and a title.
PICTURES: dict[str, tuple[str, Callable[..., bytes]]] = {
    "classify": ("confusion_matrix.png", confusion_matrix),
    "score": ("scatter.png", scatter),
}


def classification_table(judgement: Judgement) -> str:
    """scikit-learn's report and the remarks; of another task its scores."""
    if not judgement.labels:
        return "\n".join(f"{name:<12}{value:>10.4f}" for name, value in judgement.metrics.items() if value is not None)
    labels = list(judgement.labels)
    table = classification_report(judgement.gold, judgement.predicted, labels=labels, digits=4, zero_division=0)
    return "\n".join([table, *judgement.remarks])


def write_metrics(run: Path, judgement: Judgement) -> None:
    """`<split>-metrics.json`, and `val-metrics.json` for the dev split."""
    name = "val" if judgement.split == "dev" else judgement.split
    write_json(run / f"{name}-metrics.json", judgement.metrics)


def write_predictions(run: Path, judgement: Judgement) -> None:
    """`predictions-<split>.jsonl`, a line for each example."""
    rows = []
    for e, predicted, p in zip(judgement.examples, judgement.predicted, judgement.probabilities.tolist(), strict=True):
        row = {"id": e.id, "text": e.text, "label": e.label, "predicted": predicted}
        row |= {} if e.pair is None else {"pair": e.pair}
        row |= {} if e.votes is None else {"votes": e.votes}
        rows.append(row | ({"probabilities": dict(zip(judgement.model_labels, p, strict=True))} if p else {}))
    write_jsonl(run / f"predictions-{judgement.split}.jsonl", rows)


def write_report(run: Path, judgement: Judgement) -> str:
    """All files of the split that a run is evaluated on; returns the classification report."""
    write_metrics(run, judgement)
    write_predictions(run, judgement)
    table = classification_table(judgement)
    write_whole(run / "classification_report.txt", table)
    if judgement.task in PICTURES:
        name, draw = PICTURES[judgement.task]
        title = f"{judgement.split}: {len(judgement.examples)} texts"
        write_picture(run / name, draw, judgement.gold, judgement.predicted, judgement.labels, title)
    return table
