"""Show every mistake of a run, why it may have happened, and what stands out, on one page.

`finetune` and `evaluate` make the page by themselves; this makes it again, in another language or with more on it.

python scripts/failures.py outputs/mini/2026-11-24/12-00-00 --language ja
python scripts/failures.py RUN --slices mine.tsv --against RUN
python scripts/failures.py RUN --retrain 5
"""

import argparse
import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tezukuri.data.dataset import SPLITS, Dataset
from tezukuri.eval.failures.analysis import Analysis, Retrained, analyse
from tezukuri.eval.failures.page import LANGUAGES, write_page
from tezukuri.eval.failures.probes import read_probes
from tezukuri.eval.failures.slices import read_rules
from tezukuri.eval.failures.suspects import deal
from tezukuri.eval.predict import Scorer
from tezukuri.eval.tasks.classify import Classify
from tezukuri.model.precision import choose_device
from tezukuri.scripts import evaluate, finetune
from tezukuri.scripts.command import run_file
from tezukuri.scripts.options import add_device_option, read_data
from tezukuri.train.loop import fine_tune
from tezukuri.train.regularizers.shelf import regularizers_of
from tezukuri.train.seen_words import only_seen_words
from tezukuri.train.settings import Settings
from tezukuri.weights.files import read_json
from tezukuri.weights.load import load_ready_classifier


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="failures", description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    options.add_argument("run", type=Path, metavar="RUN", help="a run folder of finetune, with its model, or evaluate")
    options.add_argument("--language", choices=LANGUAGES, default="en", help="of the page (%(default)s)")
    options.add_argument("--against", type=Path, metavar="RUN", help="another run, to stand beside this one")
    options.add_argument("--slices", type=Path, metavar="FILE", help="kinds of texts of your own: name, tab, pattern")
    options.add_argument("--probes", type=Path, metavar="FILE", help="texts to try the model on, as in tezukuri probe")
    options.add_argument(
        "--retrain",
        type=number_of_folds,
        metavar="K",
        help="name labels to look at by K fine-tunings, each on the other folds; takes K times the time of the run",
    )
    add_device_option(options)
    return options


def number_of_folds(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of folds: write 2 or more")
    return int(text)


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
    if options.retrain and not trained:
        raise ValueError(f"{run} is a run of evaluate, which trains nothing: --retrain is for those of finetune")
    extras: dict[str, Any] = {"own_rules": read_rules(options.slices) if options.slices else []}
    extras["probes"] = read_probes(options.probes) if options.probes else None
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
    train, retrained = data.split("train"), None
    if options.retrain:
        retrained = retrain(given, settings, data, options.retrain, choose_device(options.device))
    scorer = Scorer(loaded.model, loaded.tokenizer, Classify(data.labels), how)
    return analyse(scorer, judgements, train, data.labels, retrained=retrained, **extras)


def retrain(given: Namespace, settings: Settings, data: Dataset, folds: int, device: torch.device) -> Retrained:
    """Probabilities of each text of train, dev and test, in this order, by a model that learned from other folds.

    Each begins from the same model as the run did, and is trained with its settings: on the training texts of the other
    folds, and by those of dev among them an epoch is chosen as it was in the run. No test text teaches anything.
    """
    examples = [example for split in SPLITS for example in data.examples if example.split == split]
    if folds > len(examples):
        raise ValueError(f"{len(examples)} texts cannot be dealt out to {folds} folds: give --retrain fewer")
    parts = [len(SPLITS) * data.labels.index(e.label) + SPLITS.index(e.split) for e in examples]
    fold = deal(np.array(parts), folds, settings.seed)  # each has its share of every class, and of every split
    probabilities = np.zeros((len(examples), len(data.labels)))
    for number in range(folds):
        print(f"\nfold    {number + 1} of {folds}, here called test")
        out = fold == number
        dealt = replace(
            data,
            examples=[
                replace(e, split="test") if judged else e
                for e, judged in zip(examples, out, strict=True)
                if judged or e.split != "test"
            ],
        )
        torch.manual_seed(settings.seed)
        loaded = finetune.make(given, data)
        model = loaded.model.to(device)
        splits = finetune.encode(dealt, loaded, settings)
        train, dev = (splits[name].texts(data.labels) for name in ("train", "dev"))
        regularizers = regularizers_of(settings.regularizers)
        with only_seen_words(model.bert, splits["train"].encoded):
            for row in fine_tune(model, Classify(data.labels), train, dev, settings, regularizers=regularizers):
                print(f"epoch {row['epoch']}: accuracy on dev {row['dev_accuracy']:.3f}")
        probabilities[out] = finetune.judged("test", model, dealt, splits["test"], settings).probabilities
    return Retrained(probabilities, folds)


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
