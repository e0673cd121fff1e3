"""A judged split → its files in the run folder: metrics, predictions, classification report, confusion matrix."""

from pathlib import Path

from sklearn.metrics import classification_report

from .judge import Judgement
from .plots import confusion_matrix, write_picture
from .runs import write_json, write_jsonl, write_whole


def classification_table(judgement: Judgement) -> str:
    """scikit-learn's report with a row for each label, and the remarks below it; without classes, the scores."""
    if not judgement.labels:
        return "\n".join(f"{name:<12}{value:>10.4f}" for name, value in judgement.metrics.items() if value is not None)
    table = classification_report(
        judgement.gold, judgement.predicted, labels=list(judgement.labels), digits=4, zero_division=0
    )
    return "\n".join([table, *judgement.remarks])


def write_metrics(run: Path, judgement: Judgement) -> None:
    """`test-metrics.json`; those of the dev split are called `val-metrics.json`, by custom."""
    name = "val" if judgement.split == "dev" else judgement.split
    write_json(run / f"{name}-metrics.json", judgement.metrics)


def write_predictions(run: Path, judgement: Judgement) -> None:
    """`predictions-<split>.jsonl`, a line an example."""
    rows = zip(judgement.examples, judgement.predicted, judgement.probabilities.tolist(), strict=True)
    write_jsonl(
        run / f"predictions-{judgement.split}.jsonl",
        (
            {
                "id": example.id,
                "text": example.text,
                "label": example.label,
                "predicted": predicted,
                **({"pair": example.pair} if example.pair is not None else {}),
                **({"probabilities": dict(zip(judgement.model_labels, row, strict=True))} if row else {}),
            }
            for example, predicted, row in rows
        ),
    )


def write_report(run: Path, judgement: Judgement) -> str:
    """All files of the split that a run is judged by; returns the classification report."""
    write_metrics(run, judgement)
    write_predictions(run, judgement)
    table = classification_table(judgement)
    write_whole(run / "classification_report.txt", table)
    if judgement.labels:
        title = f"{judgement.split}: {len(judgement.examples)} texts"
        shown = (judgement.gold, judgement.predicted, judgement.labels, title)
        write_picture(run / "confusion_matrix.png", confusion_matrix, *shown)
    return table
