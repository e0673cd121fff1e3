"""Label texts with a classifier.

python scripts/predict.py --model outputs/…/model 駅から近くて便利でした。 部屋が狭い。
python scripts/predict.py --model outputs/…/model --file reviews.txt --format jsonl > labels.jsonl
cat reviews.jsonl | python scripts/predict.py --model outputs/…/model --text-column review
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import tee

from tezukuri.data.texts import read_texts
from tezukuri.eval.classifier import READ_AHEAD, Classifier, Prediction
from tezukuri.model.precision import PRECISIONS
from tezukuri.model.ranks import ranks
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import add_classifier_options, positive


def parser() -> argparse.ArgumentParser:
    options = parser_of("predict", __doc__)
    options.add_argument("texts", nargs="*", help="the texts; without any, a line each from --file or standard input")
    add_classifier_options(options)
    options.add_argument("--file", help="a text a line, or .jsonl")
    options.add_argument("--text-column", metavar="NAME", help="lines are JSON objects with the text in this column")
    options.add_argument("--format", choices=["table", "jsonl"], default="table")
    options.add_argument("--batch-size", type=positive, help="texts at a time (default 64)")
    options.add_argument("--precision", choices=["auto", *PRECISIONS, "int8"], default="auto")
    options.add_argument("--top-k", type=positive, help="so many labels of each text, with --format jsonl (all)")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.texts and (options.file or options.text_column):
        raise ValueError("texts come as arguments, or from --file or standard input (--text-column), not both")
    if not options.texts and not options.file and ranks() > 1:
        raise ValueError("several processes cannot share standard input: give the texts as a --file")
    classifier = Classifier.load(options.model, options.labels, options.revision, options.device, options.precision)
    rows: Iterable[tuple[str, str]]
    if options.texts:
        rows = ((str(number), text) for number, text in enumerate(options.texts, start=1))
    else:
        rows = read_texts(options.file or sys.stdin.buffer, options.text_column)
    show = jsonl if options.format == "jsonl" else table
    read_ahead = READ_AHEAD if options.texts or options.file else 1  # each line of a pipe is answered at once
    for line in show(predictions(classifier, rows, options.batch_size, read_ahead, options.top_k)):
        print(line)
    return 0


def predictions(
    classifier: Classifier,
    rows: Iterable[tuple[str, str]],
    batch_size: int | None,
    read_ahead: int = READ_AHEAD,
    top_k: int | None = None,
) -> Iterator[tuple[str, str, Prediction]]:
    """(id, text) → (id, text, prediction), a few batches at a time."""
    rows, again = tee(rows)
    answers = classifier.stream((text for _, text in again), batch_size, read_ahead, top_k)
    for (name, text), prediction in zip(rows, answers, strict=True):
        yield name, text, prediction


def table(rows: Iterable[tuple[str, str, Prediction]]) -> Iterator[str]:
    for _, text, prediction in rows:
        mark = "  (cut: longer than the model can read)" if prediction.truncated else ""
        shown = "".join(character if character.isprintable() else " " for character in text)  # no control codes
        yield f"{prediction.label:<10} {prediction.probability:.3f}  {shown}{mark}"


def jsonl(rows: Iterable[tuple[str, str, Prediction]]) -> Iterator[str]:
    for name, text, prediction in rows:
        row = {
            "id": name,
            "text": text,
            "predicted": prediction.label,
            "probabilities": prediction.probabilities,
            "truncated": prediction.truncated,
        }
        yield json.dumps(row, ensure_ascii=False, allow_nan=False)


if __name__ == "__main__":
    run_file(__file__)
