"""Label texts with a classifier.

python scripts/predict.py --model outputs/…/model 駅から近くて便利でした。 部屋が狭い。
python scripts/predict.py --model outputs/…/model --file reviews.csv --text-column review --output labelled.csv
python scripts/predict.py --model outputs/…/model --file pairs.csv --text-column premise --pair-column hypothesis
python scripts/predict.py --model outputs/…/model --file exam.csv --text-column question --choice-columns a,b,c,d
cat reviews.jsonl | python scripts/predict.py --model outputs/…/model --format jsonl > labels.jsonl
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from tezukuri.data.encodings import AUTO
from tezukuri.data.table import SUFFIXES
from tezukuri.data.texts import EMPTY, Row, Texts, read_texts
from tezukuri.eval.classifier import READ_AHEAD, Classifier
from tezukuri.eval.labelled import Tally, file_lines, jsonl, line_of, predictions, refuse_columns, table
from tezukuri.eval.runs import whole_file
from tezukuri.model.int8 import COSTS, costs
from tezukuri.model.precision import PRECISIONS
from tezukuri.model.ranks import rank, ranks
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import add_classifier_options, label_list, positive
from tezukuri.tokenize.encoding import TRUNCATIONS
from tezukuri.train.plan import CHOICES, ENCODING


def parser() -> argparse.ArgumentParser:
    options = parser_of("predict", __doc__)
    options.add_argument("texts", nargs="*", help="the texts; without any, those of --file or standard input")
    add_classifier_options(options)
    options.add_argument("--file", help=".csv, .tsv or .jsonl; any other has a text a line")
    options.add_argument("--text-column", metavar="NAME", help="of a table or of JSON objects (text, or question)")
    options.add_argument(
        "--pair-column", metavar="NAME", help="holds the second text, of pairs (beside question: context)"
    )
    options.add_argument("--choice-columns", type=label_list, default=(), metavar="NAMES", help=CHOICES)
    options.add_argument("--encoding", default=AUTO, metavar="NAME", help=ENCODING)
    options.add_argument("--bad-rows", choices=["error", "skip"], default="error", help="stop, or label the others")
    options.add_argument("--output", type=Path, metavar="FILE", help="the rows with their labels: .csv, .tsv or .jsonl")
    options.add_argument("--format", choices=["table", "jsonl"], help="of what is printed without --output (table)")
    options.add_argument("--max-length", type=positive, help="tokens; longer texts are cut (as in training)")
    options.add_argument("--truncation", choices=TRUNCATIONS, help="how texts are cut (as in training)")
    options.add_argument("--batch-size", type=positive, help="texts at a time (default 64, on a GPU 256)")
    options.add_argument("--precision", choices=["auto", *PRECISIONS, "int8"], default="auto", help=f"(auto); {COSTS}")
    options.add_argument("--top-k", type=positive, help="so many labels of each text, in JSON lines (all)")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    refuse_contradictions(options)
    # A file is looked through before the model is loaded, standard input is waited for afterwards.
    texts = source_of(options) if options.texts or options.file else None
    classifier = Classifier.load(
        options.model, options.labels, options.revision, options.device, options.precision,
        options.max_length, options.truncation, len(options.choice_columns),
    )  # fmt: skip
    texts = texts or source_of(options)
    read_ahead = 1 if texts.number is None else READ_AHEAD  # a pipe is answered batch by batch
    found = predictions(classifier, texts.rows, options.batch_size, read_ahead, options.top_k, options.bad_rows)
    answers_on_screen = sys.stdout.isatty() and not options.output
    silent = True if rank() or answers_on_screen else None  # None: where there is no terminal
    tally = Tally(classifier.how["max_length"])
    counted = tally.counting(tqdm(found, "labelled", texts.number, unit="row", leave=False, disable=silent))
    if options.output:
        lines = file_lines(options.output, counted, texts.columns, classifier.probable)
        if rank():
            for _ in lines:
                pass
        else:
            with whole_file(options.output) as file:
                file.writelines(line.encode("utf-8") + b"\n" for line in lines)
    else:
        show = jsonl if options.format == "jsonl" else table
        for line in show(counted):
            print(line)
    for sentence in [*tally.sentences(), *costs(options.precision, classifier.task.classes)]:
        tell(sentence)
    if options.output:
        tell(f"{tally.rows} rows, {tally.rows - tally.unlabelled} of them labelled, are in {options.output}")
    return 0


def tell(sentence: str) -> None:
    """Say something beside the answers."""
    if not rank():
        print(f"predict: {sentence}", file=sys.stderr)


# --- what is labelled -------------------------------------------------------------------------------------------


def refuse_contradictions(options: argparse.Namespace) -> None:
    """ValueError where two options do not go together."""
    output = options.output
    of_files = options.file, options.text_column, options.pair_column, options.choice_columns, options.encoding != AUTO
    if options.texts and any(of_files):
        raise ValueError("texts come as arguments, or from --file or standard input (and their columns), not both")
    if not options.texts and not options.file and ranks() > 1:
        raise ValueError("several processes cannot share standard input: give the texts as a --file")
    if output and output.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--output {output}: the suffix tells the format, and must be one of {', '.join(SUFFIXES)}")
    if output and options.format:
        raise ValueError("--format is of what is printed; the format of --output is that of its suffix: leave it out")
    if output and not output.parent.is_dir():
        raise ValueError(f"--output {output}: there is no folder {output.parent}; make it first")
    if output and options.file and output.exists() and Path(options.file).exists() and output.samefile(options.file):
        raise ValueError(f"--output would replace {options.file}, which is read: choose another name")
    if options.top_k and options.format != "jsonl" and not (output and output.suffix.lower() == ".jsonl"):
        raise ValueError("--top-k is for JSON lines: add --format jsonl, or --output FILE.jsonl")


def source_of(options: argparse.Namespace) -> Texts:
    """The texts, when what was recognised of them is said, and their columns can be written to --output."""
    texts = texts_of(options)
    if options.output:
        refuse_columns(texts, options.output)
    for note in texts.notes:
        tell(note)
    return texts


def texts_of(options: argparse.Namespace) -> Texts:
    """The texts; where they are a file, all of it was read once, so that no row ends the job halfway."""
    if options.texts:
        why = ["the text is empty" if text.strip() in EMPTY else "" for text in options.texts]
        rows = [Row(str(i + 1), text, {"text": text}, "", why[i]) for i, text in enumerate(options.texts)]
        return Texts(rows, ["text"], number=len(rows))
    texts = read_texts(
        options.file or sys.stdin.buffer, options.text_column, options.bad_rows, options.pair_column,
        options.choice_columns, options.encoding,
    )  # fmt: skip
    if not texts.again:
        return texts
    number, columns = 0, dict.fromkeys(texts.columns or ())
    for row in texts.rows:
        number += 1
        columns.update(dict.fromkeys(row.fields))
        if options.output:
            line_of(options.output.suffix.lower(), list(row.fields.values()), row.place)
    return replace(texts, number=number, columns=texts.columns or list(columns))


if __name__ == "__main__":
    run_file(__file__)
