"""Fine-tune a BERT on labelled texts, and judge it.

python scripts/finetune.py --model tohoku-nlp/bert-base-japanese-v3 --data jrte
python scripts/finetune.py --model scratch --data reviews.csv --label-column stars
"""

import argparse
import hashlib
import json
import shlex
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tezukuri.data.dataset import Dataset, Example
from tezukuri.data.load import load as load_data
from tezukuri.eval.judge import Judgement, judge
from tezukuri.eval.plots import curves
from tezukuri.eval.predict import predict
from tezukuri.eval.report import write_metrics, write_predictions, write_report
from tezukuri.eval.runs import circumstances, new_run, write_csv, write_json, write_jsonl, write_whole
from tezukuri.model.config import BertConfig
from tezukuri.model.heads import BertClassifier
from tezukuri.model.precision import PRECISIONS, choose_device, choose_precision
from tezukuri.scripts.command import run_file
from tezukuri.scripts.options import add_data_options, add_machine_options
from tezukuri.tokenize.encoding import TRUNCATIONS, EncodedBatch
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.vocabulary import vocabulary_of
from tezukuri.train.checkpoint import FILE as CHECKPOINT
from tezukuri.train.loop import fine_tune
from tezukuri.train.settings import RECIPES, SELECTIONS, Settings
from tezukuri.weights.hub import find
from tezukuri.weights.load import Loaded, LoadReport, load_with_report
from tezukuri.weights.save import save

# What --model scratch starts from: small enough for a laptop, and a rate at which a new model learns.
SCRATCH: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 512,
}
SCRATCH_LR = 2e-4
COLUMNS = ("train_loss", "dev_loss", "dev_accuracy", "dev_precision", "dev_recall", "dev_f1", "dev_ece", "seconds")


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="finetune", description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    model = options.add_argument_group("model")
    model.add_argument("--model", default="tohoku-nlp/bert-base-japanese-v3", help="folder, hub id, or scratch")
    model.add_argument("--revision", help="branch, tag or commit of the hub")
    model.add_argument("--tokenizer", help="for --model scratch: folder or hub id of the vocabulary (else made anew)")
    model.add_argument("--reset-head", action="store_true", help="put a new classifier in place of the model's own")
    model.add_argument("--hidden-dropout", type=float, metavar="P", help="rate after each layer (model's own)")
    model.add_argument("--attention-dropout", type=float, metavar="P", help="rate on attention (model's own)")
    model.add_argument("--classifier-dropout", type=float, metavar="P", help="rate before the classifier (model's own)")
    model.add_argument("--attention", choices=["eager", "sdpa", "varlen"], default="sdpa", help="kernel (%(default)s)")
    add_data_options(options)
    recipe = options.add_argument_group("recipe (each option changes one value of it)")
    recipe.add_argument("--recipe", choices=RECIPES, default="default")
    recipe.add_argument("--epochs", type=int)
    recipe.add_argument("--batch-size", type=int, help="texts in a micro-batch")
    recipe.add_argument("--accumulate", type=int, help="micro-batches in a step")
    recipe.add_argument("--lr", type=float, help="highest learning rate")
    recipe.add_argument("--weight-decay", type=float)
    warmup = recipe.add_mutually_exclusive_group()
    warmup.add_argument("--warmup-ratio", type=float, help="share of all steps in which the rate rises")
    warmup.add_argument("--warmup-steps", type=int, help="the same as a number")
    recipe.add_argument("--max-grad-norm", type=float, help="longer gradients are cut to this length")
    recipe.add_argument("--max-length", type=int, help="tokens of a text; longer ones are cut")
    recipe.add_argument("--truncation", choices=[t for t in TRUNCATIONS if t != "only_second"])
    recipe.add_argument("--label-smoothing", type=float, metavar="E")
    recipe.add_argument("--class-weights", choices=["none", "balanced"])
    recipe.add_argument("--select", choices=SELECTIONS, help="which epoch is kept, by the dev split")
    recipe.add_argument("--patience", type=int, help="stop after so many epochs without a better one (0: never)")
    recipe.add_argument("--precision", choices=["auto", *PRECISIONS])
    recipe.add_argument("--compile", action=argparse.BooleanOptionalAction, help="torch.compile the model")
    recipe.add_argument("--seed", type=int, help="of head, dropout and order of the texts")
    add_machine_options(options)
    output = options.add_argument_group("output")
    output.add_argument("--output-dir", default="outputs", help="where the run folder is made (%(default)s)")
    output.add_argument("--save-model", choices=["best", "none"], default="best", help="keep the chosen epoch's model")
    output.add_argument("--checkpoint", action=argparse.BooleanOptionalAction, default=True, help="allow --resume")
    output.add_argument("--resume", metavar="RUN", help="go on with a run that was stopped; takes no other option")
    return options


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    run = None
    if options.resume:
        run, options = stopped_run(Path(options.resume), arguments)
    settings = settings_of(options)
    device = choose_device(options.device)

    data = load_data(
        options.data,
        path=options.data_path,
        text_column=options.text_column,
        label_column=options.label_column,
        split_column=options.split_column,
        seed=settings.seed,
        bad_rows=options.bad_rows,
    )
    splits = {name: data.split(name) for name in ("train", "dev")}
    if any(example.split == "test" for example in data.examples):
        splits["test"] = data.split("test")
    torch.manual_seed(settings.seed)  # before the head is made
    loaded = make(options, data.labels, [example.text for example in splits["train"]])
    model, tokenizer = loaded.model.to(device), loaded.tokenizer
    max_length = min(settings.max_length, model.config.max_position_embeddings)
    encoded = {
        name: tokenizer.encode_batch([e.text for e in examples], max_length=max_length, truncation=settings.truncation)
        for name, examples in splits.items()
    }
    precision = choose_precision(settings.precision, device)
    facts: dict[str, Any] = {
        "options": vars(options),
        "settings": asdict(settings),
        "data": describe(data, encoded),
        "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
        "precision": str(precision).removeprefix("torch."),
        "load_report": asdict(loaded.report),
    }
    if run is None:
        run = new_run(Path(options.output_dir), options.model)
        write_json(run / "config.json", facts | circumstances())
    else:
        check_same_data(run, facts["data"])
    introduce(run, data, splits, encoded, max_length, loaded.report, facts)
    if data.bad_rows:
        write_jsonl(run / "bad-rows.jsonl", [asdict(row) for row in data.bad_rows])

    rows: list[dict[str, Any]] = []
    head = "epoch  " + "".join(f"{name.removeprefix('dev_'):>11}" for name in COLUMNS)
    print(head)
    for row in fine_tune(
        model,
        (encoded["train"], numbers(splits["train"], data.labels)),
        (encoded["dev"], numbers(splits["dev"], data.labels)),
        settings,
        checkpoints=run if options.checkpoint else None,
        resume=bool(options.resume),
    ):
        rows.append(row)
        write_csv(run / "log.csv", rows)
        print(f"{row['epoch']:>5}  " + "".join(f"{'—' if row[c] is None else f'{row[c]:.4f}':>11}" for c in COLUMNS))
    best = chosen_epoch(rows, settings)
    write_whole(run / "curves.png", curves(rows, best))

    judgements = {
        name: judge_split(name, splits[name], model, encoded[name], data.labels, precision)
        for name in splits
        if name != "train"
    }
    conclude(run, judgements, best)
    if options.save_model == "best":
        save(model, tokenizer, run / "model")
    (run / CHECKPOINT).unlink(missing_ok=True)
    print(f"\nrun     {run}")
    if options.save_model == "best":
        print(
            f"model   {run / 'model'}\n\nnext:   python scripts/predict.py --model {shlex.quote(str(run / 'model'))} 文"
        )
    return 0


def stopped_run(run: Path, arguments: list[str]) -> tuple[Path, argparse.Namespace]:
    """A run's folder and the options that it was started with."""
    if not (run / "config.json").is_file():
        raise ValueError(f"{run} is no run: it has no config.json")
    others = [a for a in arguments if a.startswith("--") and a.split("=")[0] != "--resume"]
    if others:
        raise ValueError(f"--resume goes on with the options that the run was started with: leave out {others[0]}")
    options = json.loads((run / "config.json").read_text(encoding="utf-8"))["options"]
    if not (run / CHECKPOINT).is_file():
        raise ValueError(f"{run} has no {CHECKPOINT}: it ended, stopped before its first epoch, or kept no checkpoints")
    return run, argparse.Namespace(**options | {"resume": str(run)})


def settings_of(options: argparse.Namespace) -> Settings:
    """The recipe, with what the command line changes."""
    given = {field.name: getattr(options, field.name) for field in fields(Settings)}
    changed = {name: value for name, value in given.items() if value is not None}
    if options.model == "scratch":
        changed = {"lr": SCRATCH_LR} | changed
    if "warmup_ratio" in changed:
        changed["warmup_steps"] = None
    return replace(RECIPES[options.recipe], **changed)


def make(options: argparse.Namespace, labels: tuple[str, ...], texts: list[str]) -> Loaded:
    """The model to be trained, its head ready for `labels`, and its tokenizer."""
    rates = {
        "hidden_dropout_prob": options.hidden_dropout,
        "attention_probs_dropout_prob": options.attention_dropout,
        "classifier_dropout": options.classifier_dropout,
    }
    changes: dict[str, Any] = {name: rate for name, rate in rates.items() if rate is not None}
    changes["attention_kernel"] = options.attention
    if options.model != "scratch":
        if options.tokenizer:
            raise ValueError(
                "--tokenizer is for --model scratch; a checkpoint brings the tokenizer it was trained with"
            )
        return load_with_report(
            options.model,
            "classify",
            labels,
            revision=options.revision,
            reset_head=options.reset_head,
            changes=changes,
        )
    if options.tokenizer:
        files = find(options.tokenizer, options.revision, weights=False)
        tokenizer, source = JapaneseTokenizer.from_pretrained(files.folder), f"scratch, vocabulary of {files.source}"
    else:
        tokenizer, source = JapaneseTokenizer(vocabulary_of(texts)), "scratch, vocabulary of the training texts"
    config = BertConfig(**SCRATCH | {"vocab_size": tokenizer.vocab_size, "labels": labels} | changes)
    model = BertClassifier(config)
    new = [name for name, _ in model.named_parameters()]
    return Loaded(model, tokenizer, LoadReport(source, new=["all"] if new else [], notes=tokenizer.notes))


def describe(data: Dataset, encoded: dict[str, EncodedBatch]) -> dict[str, Any]:
    """What the run was trained on, with a fingerprint by which a resumed run knows it again."""
    content = json.dumps([[e.id, e.text, e.label, e.split] for e in data.examples], ensure_ascii=False)
    return {
        "name": data.name,
        "labels": list(data.labels),
        "texts": {name: len(batch) for name, batch in encoded.items()},
        "truncated_share": {name: batch.truncated_share for name, batch in encoded.items()},
        "bad_rows": len(data.bad_rows),
        "notes": data.notes,
        "sha256": hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest(),
    }


def check_same_data(run: Path, data: dict[str, Any]) -> None:
    before = json.loads((run / "config.json").read_text(encoding="utf-8"))["data"]
    if before["sha256"] != data["sha256"]:
        raise ValueError(f"the data is not what {run} was started with ({before['name']}): its texts or splits changed")


def introduce(
    run: Path,
    data: Dataset,
    splits: dict[str, list[Example]],
    encoded: dict[str, EncodedBatch],
    max_length: int,
    report: LoadReport,
    facts: dict[str, Any],
) -> None:
    """Say what is about to happen."""
    print(f"run     {run}\nmodel   {report}\ndevice  {facts['device']}, {facts['precision']}")
    for name, examples in splits.items():
        counts = ", ".join(f"{sum(e.label == label for e in examples)} {label}" for label in data.labels)
        cut = encoded[name].truncated_share
        print(
            f"{name:<7} {len(examples)} texts ({counts})" + (f"; {cut:.1%} cut to {max_length} tokens" if cut else "")
        )
    for note in data.notes:
        print(f"data    {note}")
    if data.bad_rows:
        print(f"data    {len(data.bad_rows)} bad rows left out, listed in bad-rows.jsonl")
    print()


def numbers(examples: list[Example], labels: tuple[str, ...]) -> np.ndarray:
    """(n,) the class number of each example."""
    return np.array([labels.index(example.label) for example in examples], dtype=np.int64)


def chosen_epoch(rows: list[dict[str, Any]], settings: Settings) -> int:
    from tezukuri.train.loop import score_of

    return max(rows[1:], key=lambda row: score_of(row, settings.select))["epoch"]


def judge_split(
    name: str,
    examples: list[Example],
    model: BertClassifier,
    encoded: EncodedBatch,
    labels: tuple[str, ...],
    precision: torch.dtype,
) -> Judgement:
    logits = predict(model, encoded, precision=precision, progress=name).numpy()
    return judge(name, examples, logits, model.config.labels, labels)


def conclude(run: Path, judgements: dict[str, Judgement], best: int) -> None:
    """Write and show what came out: the test split's report, or the dev split's where there is no other."""
    last = list(judgements)[-1]
    for name, judgement in judgements.items():
        if name != last:
            write_metrics(run, judgement)
            write_predictions(run, judgement)
    print(f"\n{last} split, model of epoch {best}:\n\n{write_report(run, judgements[last])}")
    print("  ".join(f"{k} {v:.4f}" for k, v in judgements[last].metrics.items() if isinstance(v, float)))


if __name__ == "__main__":
    run_file(__file__)
