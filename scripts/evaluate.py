"""Judge a ready classifier on labelled texts.

python scripts/evaluate.py --model mr4/bert-base-jp-sentiment-analysis --data jrte --neutral-band auto
python scripts/evaluate.py --model outputs/…/model --data reviews.csv --split test
"""

import argparse
import sys
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tezukuri.data.dataset import Dataset, Example
from tezukuri.eval.classifier import Classifier
from tezukuri.eval.failures.analysis import Analysis, analyse
from tezukuri.eval.failures.page import write_page
from tezukuri.eval.judge import Judgement, judge
from tezukuri.eval.neutral import neutral_label, tune_width
from tezukuri.eval.predict import Scorer, predict
from tezukuri.eval.report import write_report
from tezukuri.eval.runs import circumstances, new_run, write_json, write_jsonl
from tezukuri.eval.tasks.classify import Classify
from tezukuri.eval.tasks.metrics import softmax
from tezukuri.model.model import Model
from tezukuri.model.precision import PRECISIONS, name_of
from tezukuri.scripts.command import run_file
from tezukuri.scripts.options import (
    add_data_options,
    add_device_option,
    add_report_options,
    label_list,
    positive,
    read_data,
    with_own_folders,
    with_whole_paths,
)
from tezukuri.tokenize.encoding import TRUNCATIONS
from tezukuri.weights.load import Loaded, load_ready_classifier


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="evaluate", description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    model = options.add_argument_group("model")
    model.add_argument("--model", required=True, help="folder or hub id of a classifier")
    model.add_argument("--revision", help="branch, tag or commit of the hub")
    model.add_argument(
        "--labels", type=label_list, help="names of the head's rows, in order, with commas: negative,positive"
    )
    model.add_argument(
        "--neutral-band",
        default="none",
        metavar="none|auto|WIDTH",
        help="for two labels against three: a prediction whose two probabilities differ by less is called by the label "
        "that the model lacks; auto finds the width on the dev split",
    )
    add_data_options(options)
    options.add_argument("--split", default="test", choices=["train", "dev", "test"])
    options.add_argument(
        "--max-length", type=positive, help="tokens of a text; longer ones are cut (what the model can read)"
    )
    options.add_argument(
        "--truncation", choices=[t for t in TRUNCATIONS if t != "only_second"], default="longest_first"
    )
    options.add_argument("--batch-size", type=positive, help="texts at a time (default 64; 16 in int8)")
    options.add_argument("--precision", choices=["auto", *PRECISIONS, "int8"], default="auto")
    add_device_option(options)
    options.add_argument("--output-dir", default="outputs", help="where the run folder is made (%(default)s)")
    add_report_options(options)
    return options


class Judged(NamedTuple):
    """A split, and what judged it."""

    judgement: Judgement
    band: dict[str, Any] | None  # label and width of a band of doubt
    loaded: Loaded  # with the model in fp32: one in int8 has no gradients to explain it by


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    options = with_own_folders(with_whole_paths(options))
    data = read_data(options)
    judged = judge_split(options, data)
    run = new_run(Path(options.output_dir), options.model)
    facts = {
        "options": vars(options),
        "neutral_band": judged.band,
        "data": {
            "name": data.name,
            "labels": data.labels,
            "texts": len(judged.judgement.examples),
            "notes": data.notes,
        },
        "load_report": asdict(judged.loaded.report),
    }
    device = next(judged.loaded.model.parameters()).device
    write_json(run / "config.json", facts | circumstances(device))
    if data.bad_rows:
        write_jsonl(run / "bad-rows.jsonl", [asdict(row) for row in data.bad_rows])
        print(f"data    {len(data.bad_rows)} bad rows left out, listed in bad-rows.jsonl")
    print(f"\n{write_report(run, judged.judgement)}\n\nrun     {run}")
    if options.report:
        write_page(run, analysis_of(options, data, judged), options.language)
    return 0


def judge_split(options: argparse.Namespace, data: Dataset) -> Judged:
    """Load the model, find the width of the band of doubt where one is wanted, and judge the split."""
    loaded = load_ready_classifier(options.model, options.labels, options.revision)
    whole = deepcopy(loaded.model) if options.precision == "int8" else loaded.model
    classifier = Classifier(loaded.model, loaded.tokenizer, options.device, options.precision)
    model, model_labels, device = classifier.model, classifier.labels, classifier.device
    named = options.precision if options.precision == "int8" else name_of(classifier.precision)
    print(f"model   {loaded.report}\ndevice  {device}, {named}")
    how = how_texts_are_cut(options, model)

    def logits_of(examples: list[Example], title: str) -> np.ndarray:
        texts = [example.text for example in examples]
        encoded = loaded.tokenizer.encode_batch(texts, **how)
        cut = f"; {encoded.truncated_share:.1%} cut to {how['max_length']} tokens" if encoded.truncated_share else ""
        print(f"{title:<7} {len(texts)} texts{cut}")
        batch_size = options.batch_size or classifier.batch_size
        return predict(model, encoded, batch_size, classifier.precision, progress=title).numpy()

    neutral, width = None, 0.0
    if options.neutral_band != "none":
        neutral = neutral_label(model_labels, data.labels)
        if options.neutral_band == "auto":
            dev = data.split("dev")
            probabilities = softmax(logits_of(dev, "dev"))
            width = tune_width(probabilities, [example.label for example in dev], model_labels, data.labels)
        else:
            width = band_width(options.neutral_band)
    examples = data.split(options.split)
    logits = logits_of(examples, options.split)
    judgement = judge(classifier.task, options.split, examples, logits, data.labels, neutral, width)
    band = {"label": neutral, "width": width} if neutral else None
    return Judged(judgement, band, Loaded(whole.to(device), loaded.tokenizer, loaded.report))


def analysis_of(options: argparse.Namespace, data: Dataset, judged: Judged, **extras: Any) -> Analysis:
    """What the page shows of it; `extras` are more arguments of `analyse`."""
    loaded = judged.loaded
    train = [example for example in data.examples if example.split == "train"]
    how = how_texts_are_cut(options, loaded.model)
    return analyse(
        Scorer(loaded.model, loaded.tokenizer, Classify(loaded.model.labels), how),
        [judged.judgement],
        train,
        data.labels,
        **extras,
    )


def how_texts_are_cut(options: argparse.Namespace, model: Model) -> dict[str, Any]:
    """For the tokenizer."""
    longest = min(options.max_length or sys.maxsize, model.config.max_position_embeddings)
    return {"max_length": longest, "truncation": options.truncation}


def band_width(text: str) -> float:
    try:
        width = float(text)
    except ValueError:
        width = -1.0
    if not 0 <= width <= 1:
        raise ValueError(f"--neutral-band is none, auto or a width from 0 to 1, not {text!r}")
    return width


if __name__ == "__main__":
    run_file(__file__)
