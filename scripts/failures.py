"""Show every mistake of a run, why it may have happened, and what stands out, on one page.

`finetune` and `evaluate` make the page too; this makes it again, in another language or with more on it.

python scripts/failures.py outputs/mini/2026-11-24/12-00-00 --language ja
python scripts/failures.py RUN --slices mine.tsv --against RUN
python scripts/failures.py RUN --retrain 5
"""

import argparse
from pathlib import Path
from typing import Any

from tezukuri.eval.failures.page import compare_with
from tezukuri.eval.failures.probes import read_probes
from tezukuri.eval.failures.slices import read_rules
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import TRUST, add_device_option
from tezukuri.train.evaluation import Evaluation
from tezukuri.train.plan import LANGUAGES
from tezukuri.train.retraining import retrain
from tezukuri.train.run import Run
from tezukuri.weights.files import read_json


def parser() -> argparse.ArgumentParser:
    options = parser_of("failures", __doc__)
    options.add_argument("run", type=Path, metavar="RUN", help="a run folder of finetune, with its model, or evaluate")
    options.add_argument("--language", choices=LANGUAGES, default="en", help="of the page (%(default)s)")
    options.add_argument("--against", type=Path, metavar="RUN", help="another run, to stand beside this one")
    options.add_argument("--slices", type=Path, metavar="FILE", help="kinds of texts of your own: name, tab, pattern")
    options.add_argument("--probes", type=Path, metavar="FILE", help="texts to try the model on, as in tezukuri probe")
    options.add_argument(
        "--retrain",
        type=number_of_folds,
        metavar="K",
        help="find suspicious labels by K fine-tunings, each on the other folds; takes K times as long as the run",
    )
    options.add_argument("--trust", action="store_true", help=f"for --retrain: {TRUST}")
    add_device_option(options)
    return options


def number_of_folds(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of folds: write 2 or more")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if not (options.run / "config.json").is_file():
        raise ValueError(f"{options.run} is no run: it has no config.json")
    config = read_json(options.run / "config.json")
    if not {"options", "data"} <= set(config):
        raise ValueError(f"{options.run} is no run of finetune or evaluate: its config.json has no labelled texts")
    trained = "settings" in config
    if options.retrain and not trained:
        raise ValueError(f"{options.run} is a run of evaluate, which trains nothing: --retrain is for finetune")
    extras: dict[str, Any] = {"own_rules": read_rules(options.slices) if options.slices else []}
    extras["probes"] = read_probes(options.probes) if options.probes else None
    if trained:
        run = Run.load(options.run, options.device)
        if options.against:  # refused before fine-tunings
            compare_with(options.against, run.all_judgements())
        retrained = retrain(run, options.retrain, options.trust) if options.retrain else None
        run.page(options.language, options.against, retrained=retrained, **extras)
    else:
        Evaluation.load(options.run, options.device).page(options.language, options.against, **extras)
    return 0


if __name__ == "__main__":
    run_file(__file__)
