"""Judge a ready classifier on labelled texts.

python scripts/evaluate.py --model mr4/bert-base-jp-sentiment-analysis --data jrte --neutral-band auto
python scripts/evaluate.py --model outputs/…/model --data reviews.csv --split test
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tezukuri.data.dataset import Example
from tezukuri.eval.classifier import Classifier
from tezukuri.eval.judge import judge
from tezukuri.eval.metrics import softmax
from tezukuri.eval.neutral import neutral_label, tune_width
from tezukuri.eval.predict import predict
from tezukuri.eval.report import write_report
from tezukuri.eval.runs import circumstances, new_run, write_json, write_jsonl
from tezukuri.model.precision import PRECISIONS, name_of
from tezukuri.scripts.command import run_file
from tezukuri.scripts.options import (
    add_data_options,
    add_device_option,
    label_list,
    positive,
    read_data,
    with_own_folders,
)
from tezukuri.tokenize.encoding import TRUNCATIONS
from tezukuri.weights.load import load_ready_classifier


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
    options.add_argument("--batch-size", type=positive, default=64)
    options.add_argument("--precision", choices=["auto", *PRECISIONS, "int8"], default="auto")
    add_device_option(options)
    options.add_argument("--output-dir", default="outputs", help="where the run folder is made (%(default)s)")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = with_own_folders(parser().parse_args(sys.argv[1:] if arguments is None else arguments))
    data = read_data(options)
    loaded = load_ready_classifier(options.model, options.labels, options.revision)
    classifier = Classifier(loaded.model, loaded.tokenizer, options.device, options.precision)
    model, model_labels, device = classifier.model, classifier.labels, classifier.device
    max_length = min(options.max_length or sys.maxsize, model.config.max_position_embeddings)
    named = options.precision if options.precision == "int8" else name_of(classifier.precision)
    print(f"model   {loaded.report}\ndevice  {device}, {named}")

    def logits_of(examples: list[Example], title: str) -> np.ndarray:
        texts = [example.text for example in examples]
        encoded = loaded.tokenizer.encode_batch(texts, max_length=max_length, truncation=options.truncation)
        cut = f"; {encoded.truncated_share:.1%} cut to {max_length} tokens" if encoded.truncated_share else ""
        print(f"{title:<7} {len(texts)} texts{cut}")
        return predict(model, encoded, options.batch_size, classifier.precision, progress=title).numpy()

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
    judgement = judge(options.split, examples, logits, model_labels, data.labels, neutral, width)

    run = new_run(Path(options.output_dir), options.model)
    facts = {
        "options": vars(options),
        "neutral_band": {"label": neutral, "width": width} if neutral else None,
        "data": {"name": data.name, "labels": data.labels, "texts": len(examples), "notes": data.notes},
        "load_report": asdict(loaded.report),
    }
    write_json(run / "config.json", facts | circumstances(device))
    if data.bad_rows:
        write_jsonl(run / "bad-rows.jsonl", [asdict(row) for row in data.bad_rows])
        print(f"data    {len(data.bad_rows)} bad rows left out, listed in bad-rows.jsonl")
    print(f"\n{write_report(run, judgement)}\n\nrun     {run}")
    return 0


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
