"""Show every mistake of a run, why it may have happened, and what stands out, on one page.

`finetune` and `evaluate` make the page by themselves; this makes it again, in another language or with more on it.

python scripts/failures.py outputs/mini/2026-11-24/12-00-00 --language ja
python scripts/failures.py RUN --slices mine.tsv --against RUN
"""

import argparse
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tezukuri.eval.failures import Analysis, analyse
from tezukuri.eval.page import LANGUAGES, write_page
from tezukuri.eval.slices import read_rules
from tezukuri.model.config import read_json
from tezukuri.model.precision import choose_device
from tezukuri.scripts import evaluate, finetune
from tezukuri.scripts.command import run_file
from tezukuri.scripts.options import add_device_option, read_data
from tezukuri.train.settings import Settings
from tezukuri.weights.load import load_ready_classifier


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="failures", description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    options.add_argument("run", type=Path, metavar="RUN", help="a run folder of finetune, with its model, or evaluate")
    options.add_argument("--language", choices=LANGUAGES, default="en", help="of the page (%(default)s)")
    options.add_argument("--against", type=Path, metavar="RUN", help="another run, to stand beside this one")
    options.add_argument("--slices", type=Path, metavar="FILE", help="kinds of texts of your own: name, tab, pattern")
    add_device_option(options)
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    run = options.run
    if not (run / "config.json").is_file():
        raise ValueError(f"{run} is no run: it has no config.json")
    config = read_json(run / "config.json")
    if not {"options", "data"} <= set(config):
        raise ValueError(f"{run} is no run of finetune or evaluate: its config.json does not tell of labelled texts")
    trained = "settings" in config
    if trained and not (run / "model" / "config.json").is_file():
        raise ValueError(f"{run} has kept no model: start finetune again without --save-model none")
    extras = {"own_rules": read_rules(options.slices) if options.slices else []}
    analysis = of_finetune(options, config, extras) if trained else of_evaluate(options, config, extras)
    write_page(run, analysis, options.language, options.against)
    return 0


def of_finetune(options: Namespace, config: Mapping[str, Any], extras: Mapping[str, Any]) -> Analysis:
    """The splits of a run of finetune, judged by the model that it has kept."""
    given = Namespace(**vars(finetune.parser().parse_args([])) | config["options"])
    data = read_data(given)
    loaded = load_ready_classifier(options.run / "model")
    loaded.model.to(choose_device(options.device))
    settings = Settings(**config["settings"] | {"regularizers": tuple(config["settings"]["regularizers"])})
    splits = finetune.encode(data, loaded, settings)
    judgements = [finetune.judged(name, loaded.model, data, split, settings) for name, split in splits.items()]
    how = finetune.how_texts_are_cut(loaded.model, settings)
    return analyse(loaded.model, loaded.tokenizer, judgements, data.split("train"), data.labels, how=how, **extras)


def of_evaluate(options: Namespace, config: Mapping[str, Any], extras: Mapping[str, Any]) -> Analysis:
    """The split of a run of evaluate, judged again by the model that it names, with the band of doubt that it had."""
    usual = evaluate.parser().parse_args(["--model", config["options"]["model"]])
    given = Namespace(**vars(usual) | config["options"] | {"device": options.device})
    if config.get("neutral_band"):
        given.neutral_band = str(config["neutral_band"]["width"])  # also where dev decided it
    data = read_data(given)
    judged = evaluate.judge_split(given, data)
    return evaluate.analysis_of(given, data, judged, **extras)


if __name__ == "__main__":
    run_file(__file__)
