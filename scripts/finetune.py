"""Fine-tune a BERT on labelled texts, and judge it; without options, the small one that comes with this package.

python scripts/finetune.py
python scripts/finetune.py --model tohoku-nlp/bert-base-japanese-v3 --data jrte
python scripts/finetune.py --data reviews.csv --label-column stars
"""

import argparse
import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tezukuri.data.dataset import Dataset, Example
from tezukuri.data.jrte import LABELS
from tezukuri.eval.classifier import Classifier
from tezukuri.eval.failures.analysis import analyse
from tezukuri.eval.failures.page import write_page
from tezukuri.eval.judge import Judgement, judge
from tezukuri.eval.plots import curves
from tezukuri.eval.predict import Scorer, predict
from tezukuri.eval.report import write_metrics, write_predictions, write_report
from tezukuri.eval.runs import circumstances, new_run, write_csv, write_json, write_jsonl, write_whole
from tezukuri.eval.tasks.classify import Classify
from tezukuri.model.attention import KERNELS
from tezukuri.model.initialisation import initialise
from tezukuri.model.model import Model
from tezukuri.model.precision import PRECISIONS, choose_device, choose_precision, name_of
from tezukuri.model.ranks import rank
from tezukuri.scripts.command import command_line, run_file
from tezukuri.scripts.options import (
    add_data_options,
    add_device_option,
    add_report_options,
    positive,
    read_data,
    stopped_run,
    with_own_folders,
    with_whole_paths,
)
from tezukuri.tokenize.encoding import TRUNCATIONS, EncodedBatch
from tezukuri.train import scratch
from tezukuri.train.batch import Texts
from tezukuri.train.checkpoint import FILE as CHECKPOINT
from tezukuri.train.loop import chosen_epoch, fine_tune
from tezukuri.train.regularizers.shelf import SHELF, listing, regularizers_of
from tezukuri.train.seen_words import only_seen_words
from tezukuri.train.settings import RECIPES, Settings, rate_for, regularizers_for
from tezukuri.weights.files import read_json
from tezukuri.weights.load import Loaded, load_with_report
from tezukuri.weights.save import save

SENTENCES = ["駅から近くて、夜も静かでした。", "お湯がぬるく、部屋も狭かったです。", "出張で一泊しました。"]
COLUMNS = ("train_loss", "dev_loss", "dev_accuracy", "dev_precision", "dev_recall", "dev_f1", "dev_ece", "seconds")


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="finetune", description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    model = options.add_argument_group("model")
    model.add_argument("--model", default="mini", help="mini, scratch, a folder or a hub id (%(default)s)")
    model.add_argument("--revision", help="branch, tag or commit of the hub")
    model.add_argument("--tokenizer", help="for --model scratch: folder or hub id of the vocabulary (else made anew)")
    model.add_argument("--reset-head", action="store_true", help="put a new classifier in place of the model's own")
    model.add_argument("--random-weights", action="store_true", help="forget what the model learned: to compare with")
    model.add_argument("--hidden-dropout", type=float, metavar="P", help="rate after each layer (model's own)")
    model.add_argument("--attention-dropout", type=float, metavar="P", help="rate on attention (model's own)")
    model.add_argument("--classifier-dropout", type=float, metavar="P", help="rate before the classifier (model's own)")
    model.add_argument("--attention", choices=["auto", *KERNELS], default="auto", help="kernel (%(default)s)")
    add_data_options(options).add_argument(
        "--leave-out", metavar="FILE.csv", help="train without the texts that it lists by id (suspects.csv)"
    )
    recipe = options.add_argument_group("recipe (each option changes one value of it)")
    recipe.add_argument("--recipe", choices=RECIPES, default="default")
    recipe.add_argument("--epochs", type=positive)
    recipe.add_argument("--batch-size", type=positive, help="texts in a micro-batch, of all processes together")
    recipe.add_argument("--accumulate", type=positive, help="micro-batches in a step")
    recipe.add_argument("--lr", type=float, help="highest learning rate (by default that of the model's width)")
    recipe.add_argument("--weight-decay", type=float)
    warmup = recipe.add_mutually_exclusive_group()
    warmup.add_argument("--warmup-ratio", type=float, help="share of all steps in which the rate rises")
    warmup.add_argument("--warmup-steps", type=int, help="the same as a number")
    recipe.add_argument("--max-grad-norm", type=float, help="longer gradients are cut to this length")
    recipe.add_argument("--max-length", type=positive, help="tokens of a text; longer ones are cut")
    recipe.add_argument("--truncation", choices=[t for t in TRUNCATIONS if t != "only_second"])
    recipe.add_argument("--label-smoothing", type=float, metavar="E", help="--regularizer label-smoothing:epsilon=E")
    recipe.add_argument("--class-weights", choices=["none", "balanced"], help="--regularizer class-balanced:beta=1")
    recipe.add_argument(
        "--regularizer",
        action="append",
        metavar="NAME[:key=value,…]",
        help=f"{', '.join(SHELF)}, or FILE.py:CLASS; once for each, in the place of the recipe's; or none",
    )
    recipe.add_argument("--list-regularizers", action="store_true", help="name them, with defaults, and end")
    recipe.add_argument(
        "--select", metavar="best|best-NAME|last", help="which epoch is kept, by a score of the dev split (f1)"
    )
    recipe.add_argument("--patience", type=int, help="stop after so many epochs without a better one (0: never)")
    recipe.add_argument("--precision", choices=["auto", *PRECISIONS])
    recipe.add_argument("--compile", action=argparse.BooleanOptionalAction, help="torch.compile the model")
    recipe.add_argument("--seed", type=int, help="of head, dropout and order of the texts")
    add_device_option(options)
    output = options.add_argument_group("output")
    output.add_argument("--output-dir", default="outputs", help="where the run folder is made (%(default)s)")
    output.add_argument("--save-model", choices=["best", "none"], default="best", help="keep the chosen epoch's model")
    output.add_argument("--judge-train", action="store_true", help="also score the training texts, without dropout")
    add_report_options(options)
    output.add_argument("--checkpoint", action=argparse.BooleanOptionalAction, default=True, help="allow --resume")
    output.add_argument("--resume", metavar="RUN", help="go on with a run that was stopped; takes no other option")
    return options


@dataclass
class Split:
    """One split of the data, ready for the model."""

    examples: list[Example]
    encoded: EncodedBatch
    targets: np.ndarray  # (n, C) as the head's loss takes them

    def texts(self, labels: Sequence[str]) -> Texts:
        """For the training loop."""
        votes = None
        if any(example.votes for example in self.examples):
            votes = np.array([[(example.votes or {}).get(label, 0) for label in labels] for example in self.examples])
        return Texts(self.encoded, self.targets, [example.text for example in self.examples], votes)


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    if options.list_regularizers:
        print(listing())
        return 0
    options = with_own_folders(stopped_run(options, arguments) if options.resume else with_whole_paths(options))
    device = choose_device(options.device)
    data = read_data(options)
    settings = settings_of(options, any(example.votes for example in data.split("train")))
    if options.resume:  # as it was started, also where the recipe has changed since
        before = read_json(Path(options.resume) / "config.json")["settings"]["regularizers"]
        settings = replace(settings, regularizers=tuple(before))
    regularizers = regularizers_of(settings.regularizers)
    if len(data.labels) < 2:
        raise ValueError(f"{data.name} has one label only, {data.labels[0]!r}: is it in column {options.label_column}?")
    torch.manual_seed(settings.seed)  # before the head is made
    loaded = make(options, data)
    model = loaded.model.to(device)
    if options.lr is None and options.recipe == "default":
        settings = replace(settings, lr=rate_for(model.config.hidden_size))
    splits = encode(data, loaded, settings)
    run = begin(options, settings, data, splits, loaded, device)

    rows: list[dict[str, Any]] = []
    print("\nepoch  " + "".join(f"{name.removeprefix('dev_'):>11}" for name in COLUMNS))
    try:
        with only_seen_words(model.bert, splits["train"].encoded):
            for row in fine_tune(
                model,
                Classify(data.labels),
                splits["train"].texts(data.labels),
                splits["dev"].texts(data.labels),
                settings,
                checkpoints=Path(options.resume or run) if options.checkpoint else None,
                resume=bool(options.resume),
                regularizers=regularizers,
            ):
                rows.append(row)
                write_csv(run / "log.csv", rows)
                cells = ("" if row[column] is None else f"{row[column]:.4f}" for column in COLUMNS)
                print(f"{row['epoch']:>5}  " + "".join(f"{cell:>11}" for cell in cells))
    except KeyboardInterrupt:
        if (run / CHECKPOINT).is_file() and not rank():
            print(f"\ngo on with    tezukuri finetune --resume {shlex.quote(str(run))}", file=sys.stderr)
        raise

    best = chosen_epoch(rows, settings.select, Classify(data.labels))
    write_whole(run / "curves.png", curves(rows, best))
    judgements = conclude(run, model, data, splits, settings, best)
    if data.labels == LABELS:
        classifier = Classifier(model, loaded.tokenizer, options.device, settings.precision)
        print("\nthree new sentences:\n")
        for text, prediction in zip(SENTENCES, classifier(SENTENCES), strict=True):
            print(f"  {prediction.label:<9} {prediction.probability:.3f}  {text}")
    print(f"\nrun     {run}\n        {run / 'curves.png'}\n        {run / 'confusion_matrix.png'}")
    if options.save_model == "best" and not rank():
        save(model, loaded.tokenizer, run / "model")
        print(f"model   {run / 'model'}")
    if options.judge_train or options.report:
        judgements = [judged("train", model, data, splits["train"], settings), *judgements]
    if options.judge_train:
        write_metrics(run, judgements[0])
    (run / CHECKPOINT).unlink(missing_ok=True)  # the run has ended: what follows can be made again from what it left
    if options.report:
        scorer = Scorer(model, loaded.tokenizer, Classify(data.labels), how_texts_are_cut(model, settings))
        analysis = analyse(scorer, judgements, data.split("train"), data.labels)
        write_page(run, analysis, options.language)
    if options.save_model == "best":
        print(f"\n{what_next(run / 'model', options.report)}")
    return 0


def what_next(model: Path, has_page: bool) -> str:
    """Commands to go on with."""
    tezukuri = command_line()
    run = shlex.quote(str(model.parent))
    if has_page:
        page = {f"failures {run} --against RUN": "the page again, beside another run"}
    else:
        page = {f"failures {run}": "every mistake, on one page"}
    commands = {
        f"predict --model {shlex.quote(str(model))} 文": "label texts of your own",
        **page,
        "finetune --data jrte": "the same on 5,553 real hotel reviews",
        "finetune --model tohoku-nlp/bert-base-japanese-v3 --data jrte": "a BERT of full size; it wants a GPU",
        "finetune --data FILE.csv --text-column … --label-column …": "your own labelled texts",
    }
    return "next    " + "\n        ".join(f"{tezukuri} {what}\n            {why}" for what, why in commands.items())


def settings_of(options: argparse.Namespace, voted: bool = False) -> Settings:
    """The recipe, with what the command line changes; `voted`: whether the training texts have votes of judges."""
    given = {field.name: getattr(options, field.name, None) for field in fields(Settings)}
    changed = {name: value for name, value in given.items() if value is not None}
    if options.regularizer == ["none"]:
        regularizers = []
    elif options.regularizer is None and options.recipe == "default":
        regularizers = list(regularizers_for(voted))
    else:
        regularizers = list(options.regularizer or ())
    if options.label_smoothing is not None:
        regularizers.append(f"label-smoothing:epsilon={options.label_smoothing}")
    if options.class_weights == "balanced":
        regularizers.append("class-balanced:beta=1")
    changed["regularizers"] = tuple(regularizers)
    if "warmup_ratio" in changed:
        changed["warmup_steps"] = None
    return replace(RECIPES[options.recipe], **changed)


def make(options: argparse.Namespace, data: Dataset) -> Loaded:
    """The model to be trained, its head ready for the data's labels, and its tokenizer."""
    rates = {
        "hidden_dropout_prob": options.hidden_dropout,
        "attention_probs_dropout_prob": options.attention_dropout,
        "classifier_dropout": options.classifier_dropout,
    }
    changes: dict[str, Any] = {name: rate for name, rate in rates.items() if rate is not None}
    if options.model == "scratch":
        texts = [example.text for example in data.split("train")]
        return scratch.scratch(
            data.labels, texts, options.tokenizer, options.revision, changes, kernel=options.attention
        )
    if options.tokenizer:
        raise ValueError("--tokenizer is for --model scratch; a checkpoint brings the tokenizer it was trained with")
    loaded = load_with_report(
        options.model,
        "classify",
        data.labels,
        revision=options.revision,
        reset_head=options.reset_head,
        changes=changes,
        kernel=options.attention,
    )
    if options.random_weights:
        loaded.model.apply(lambda module: initialise(module, loaded.model.config.initializer_range))
        loaded.report.notes.append("all weights were made anew (--random-weights)")
    return loaded


def encode(data: Dataset, loaded: Loaded, settings: Settings) -> dict[str, Split]:
    """The splits train, dev and, where the data has one, test."""
    how = how_texts_are_cut(loaded.model, settings)
    splits = {}
    for name in ("train", "dev", "test"):
        if name == "test" and all(example.split != "test" for example in data.examples):
            continue
        examples = data.split(name)
        encoded = loaded.tokenizer.encode_batch([example.text for example in examples], **how)
        targets = Classify(data.labels).targets(examples)
        splits[name] = Split(examples, encoded, targets)
        numbers = targets.sum(axis=0).astype(int)
        counts = ", ".join(f"{number} {label}" for number, label in zip(numbers, data.labels, strict=True))
        cut = f"; {encoded.truncated_share:.1%} cut to {how['max_length']} tokens" if encoded.truncated_share else ""
        print(f"{name:<7} {len(examples)} texts ({counts}){cut}")
    return splits


def how_texts_are_cut(model: Model, settings: Settings) -> dict[str, Any]:
    """For the tokenizer."""
    longest = min(settings.max_length, model.config.max_position_embeddings)
    return {"max_length": longest, "truncation": settings.truncation}


def begin(
    options: argparse.Namespace,
    settings: Settings,
    data: Dataset,
    splits: Mapping[str, Split],
    loaded: Loaded,
    device: torch.device,
) -> Path:
    """Make the run folder, with all that is needed to repeat the run, or check that a resumed one is the same."""
    content = json.dumps([[e.id, e.text, e.label, e.split] for e in data.examples])
    facts = {
        "name": data.name,
        "labels": list(data.labels),
        "texts": {name: len(split.examples) for name, split in splits.items()},
        "truncated_share": {name: split.encoded.truncated_share for name, split in splits.items()},
        "bad_rows": len(data.bad_rows),
        "notes": data.notes,
        "sha256": hashlib.sha256(content.encode()).hexdigest(),
    }
    precision = name_of(choose_precision(settings.precision, device))
    if options.resume:
        before = read_json(Path(options.resume) / "config.json")["data"]
        if before["sha256"] != facts["sha256"]:
            raise ValueError(
                f"the data is not what {options.resume} was started with: texts, labels or splits of {data.name} "
                "changed"
            )
    if options.resume and not rank():
        run = Path(options.resume)
    else:
        run = new_run(Path(options.output_dir), options.model)
        told = {"options": vars(options), "settings": asdict(settings), "data": facts, "precision": precision}
        write_json(run / "config.json", told | {"load_report": asdict(loaded.report)} | circumstances(device))
    for note in data.notes:
        print(f"data    {note}")
    if data.bad_rows:
        write_jsonl(run / "bad-rows.jsonl", [asdict(row) for row in data.bad_rows])
        print(f"data    {len(data.bad_rows)} bad rows left out, listed in bad-rows.jsonl")
    print(f"model   {loaded.report}\ndevice  {device}, {precision}\nrun     {run}")
    return run


def conclude(
    run: Path, model: Any, data: Dataset, splits: Mapping[str, Split], settings: Settings, best: int
) -> list[Judgement]:
    """Judge dev and test; show and draw the test split, or the dev split where there is no other."""
    judgements = []
    for name in ("dev", "test"):
        if name not in splits:
            continue
        judgement = judged(name, model, data, splits[name], settings)
        judgements.append(judgement)
        if name == "dev" and "test" in splits:
            write_metrics(run, judgement)
            write_predictions(run, judgement)
        else:
            print(f"\n{name} split, model of epoch {best}:\n\n{write_report(run, judgement)}")
            print("  ".join(f"{k} {v:.4f}" for k, v in judgement.metrics.items() if isinstance(v, float)))
    return judgements


def judged(name: str, model: Any, data: Dataset, split: Split, settings: Settings) -> Judgement:
    precision = choose_precision(settings.precision, next(model.parameters()).device)
    logits = predict(model, split.encoded, precision=precision, progress=name).numpy()
    return judge(Classify(model.labels), name, split.examples, logits, data.labels)


if __name__ == "__main__":
    run_file(__file__)
