"""Show every mistake of a run, why it may have happened, and what stands out, on one page.

python scripts/failures.py outputs/mini/2026-11-24/12-00-00
python scripts/failures.py RUN --language ja --slices mine.tsv
"""

import argparse
import csv
import sys
from argparse import Namespace
from pathlib import Path

from tezukuri.eval.failures import analyse, write_data
from tezukuri.eval.page import LANGUAGES, page
from tezukuri.eval.runs import write_whole
from tezukuri.eval.slices import read_rules
from tezukuri.model.config import read_json
from tezukuri.model.precision import choose_device
from tezukuri.scripts import finetune
from tezukuri.scripts.command import run_file
from tezukuri.scripts.options import add_device_option, read_data
from tezukuri.train.settings import Settings
from tezukuri.weights.load import load_ready_classifier


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="failures", description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    options.add_argument("run", type=Path, metavar="RUN", help="a run folder of finetune that has kept its model")
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
    if not (run / "model" / "config.json").is_file():
        raise ValueError(f"{run} has kept no model: start finetune again without --save-model none")
    own_rules = read_rules(options.slices) if options.slices else []
    config = read_json(run / "config.json")
    given = Namespace(**vars(finetune.parser().parse_args([])) | config["options"])
    data = read_data(given)
    loaded = load_ready_classifier(run / "model")
    model = loaded.model.to(choose_device(options.device))
    settings = Settings(**config["settings"] | {"regularizers": tuple(config["settings"]["regularizers"])})
    splits = finetune.encode(data, loaded, settings)
    judgements = [finetune.judged(name, model, data, split, settings) for name, split in splits.items()]
    analysis = analyse(model, loaded.tokenizer, judgements, data.split("train"), data.labels, own_rules)
    with (run / "log.csv").open(encoding="utf-8", newline="") as file:
        rows = [{name: float(value) if value else None for name, value in row.items()} for row in csv.DictReader(file)]
    write_data(run, analysis)
    write_whole(run / "report.html", page(analysis, data.labels, config, rows, options.language, options.against))
    print(
        "\n".join(f"page    {run / name}" for name in ("report.html", "failures.jsonl", "slices.csv", "suspects.csv"))
    )
    return 0


if __name__ == "__main__":
    run_file(__file__)
