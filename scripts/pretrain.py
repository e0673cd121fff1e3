"""Train a BERT to guess masked words: from scratch, or going on from a checkpoint on texts of your own.

python scripts/pretrain.py --model tohoku-nlp/bert-base-japanese-v3 --text reviews.txt --lr 1e-4 --steps 2000
python scripts/pretrain.py --model scratch --tokenizer vocabulary/ --text wiki.txt.gz talk.txt.gz
"""

import argparse
import shlex
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tezukuri.eval.plots import pretraining_curves
from tezukuri.eval.runs import circumstances, new_run, write_csv, write_json, write_whole
from tezukuri.model.attention import Attention
from tezukuri.model.bert import Bert, BertConfig
from tezukuri.model.model import MaskedLM, use_kernel
from tezukuri.model.precision import PRECISIONS, choose_device
from tezukuri.model.ranks import ranks
from tezukuri.scripts.command import run_file
from tezukuri.scripts.options import add_device_option, label_list, stopped_run, with_whole_paths
from tezukuri.tokenize.kinds import tokenizer_of
from tezukuri.train.checkpoint import FILE as CHECKPOINT
from tezukuri.train.pretraining import pretrain
from tezukuri.train.settings import OPTIMIZERS, Pretraining
from tezukuri.weights.find import find
from tezukuri.weights.load import Loaded, LoadReport, load_with_report
from tezukuri.weights.save import save


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="pretrain", description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    model = options.add_argument_group("model")
    model.add_argument("--model", default="scratch", help="folder or hub id to go on from, or scratch (%(default)s)")
    model.add_argument("--revision", help="branch, tag or commit of the hub")
    model.add_argument("--tokenizer", help="for --model scratch: folder or hub id of the vocabulary")
    model.add_argument("--layers", type=int, default=4, help="for --model scratch (%(default)s)")
    model.add_argument("--hidden-size", type=int, default=256, help="for --model scratch (%(default)s)")
    model.add_argument("--heads", type=int, default=4, help="for --model scratch (%(default)s)")
    model.add_argument("--attention", choices=["auto", "eager", "sdpa"], default="auto", help="kernel (%(default)s)")
    model.add_argument("--dropout", type=float, metavar="P", help="rate for now (0 from scratch, else its own)")
    options.add_argument("--text", nargs="+", help="files, a passage a line, plain or .gz; a file twice counts twice")
    options.add_argument(
        "--labels", type=label_list, metavar="A,B,…", help="guess these too, where a line begins with one and a tab"
    )
    recipe = options.add_argument_group("recipe")
    defaults = Pretraining()
    recipe.add_argument("--steps", type=int, default=defaults.steps)
    recipe.add_argument(
        "--batch-tokens", type=int, default=defaults.batch_tokens, help="tokens in a step (%(default)s)"
    )
    recipe.add_argument(
        "--max-length", type=int, default=defaults.max_length, help="tokens of a sequence (%(default)s)"
    )
    recipe.add_argument("--mask-rate", type=float, default=defaults.mask_rate)
    recipe.add_argument("--optimizer", choices=OPTIMIZERS, help="(muon from scratch, else adamw)")
    recipe.add_argument("--lr", type=float, default=defaults.lr, help="highest learning rate (%(default)s)")
    recipe.add_argument("--weight-decay", type=float, default=defaults.weight_decay)
    recipe.add_argument("--warmup-ratio", type=float, default=defaults.warmup_ratio)
    recipe.add_argument("--look-every", type=int, default=defaults.look_every, help="steps between checkpoints")
    recipe.add_argument("--precision", choices=["auto", *PRECISIONS], default=defaults.precision)
    recipe.add_argument("--seed", type=int, default=defaults.seed)
    add_device_option(options)
    options.add_argument("--output-dir", default="outputs", help="where the run folder is made (%(default)s)")
    options.add_argument("--half", action="store_true", help="save the model in half precision, 2 bytes a weight")
    options.add_argument("--resume", metavar="RUN", help="go on with a run that was stopped; takes no other option")
    return options


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    options = stopped_run(options, arguments) if options.resume else with_whole_paths(options)
    if not options.text:
        raise ValueError("say what to learn from: --text FILE …")
    if ranks() > 1:
        raise ValueError("pretrain runs as one process: start it without torchrun")
    options.optimizer = options.optimizer or ("muon" if options.model == "scratch" else "adamw")
    settings = Pretraining(
        **{f.name: getattr(options, f.name) for f in fields(Pretraining) if hasattr(options, f.name)}
    )
    device = choose_device(options.device)
    torch.manual_seed(settings.seed)
    loaded = make(options)
    model = loaded.model.to(device)
    settings = replace(settings, max_length=min(settings.max_length, model.config.max_position_embeddings))
    if options.resume:
        run = Path(options.resume)
    else:
        run = new_run(Path(options.output_dir), options.model)
        told = {"options": vars(options), "settings": asdict(settings), "load_report": asdict(loaded.report)}
        write_json(run / "config.json", told | circumstances(device))
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"model   {loaded.report}\n        {size:,} parameters\nrun     {run}\n")

    rows: list[dict[str, Any]] = []
    print(f"{'step':>8}{'tokens':>14}{'loss':>9}{'tokens/s':>10}{'val loss':>10}{'guessed':>9}{'labels':>8}")
    for row in pretrain(model, loaded.tokenizer, [Path(t) for t in options.text], settings, run, bool(options.resume)):
        rows.append(row)
        write_csv(run / "log.csv", rows)
        write_whole(run / "curves.png", pretraining_curves(rows))
        save(model, loaded.tokenizer, run / "model", torch.float16 if options.half else torch.float32)
        val = "" if row["val_loss"] is None else f"{row['val_loss']:>10.4f}{row['val_accuracy']:>9.1%}"
        val += f"{row['val_label_accuracy']:>8.1%}" if row.get("val_label_accuracy") is not None else ""
        print(f"{row['step']:>8}{row['tokens']:>14,}{row['train_loss']:>9.4f}{row['tokens_per_second']:>10,.0f}{val}")
    print(f"\nmodel   {run / 'model'}\n\nnext    tezukuri finetune --model {shlex.quote(str(run / 'model'))} --data …")
    (run / CHECKPOINT).unlink(missing_ok=True)
    return 0


def make(options: argparse.Namespace) -> Loaded:
    """The model to be trained, and its tokenizer."""
    if options.model != "scratch":
        loaded = load_with_report(
            options.model, "fill-mask", options.labels, revision=options.revision, kernel=options.attention
        )
        if options.dropout is not None:
            set_dropout(loaded.model, options.dropout)
        return loaded
    if not options.tokenizer:
        raise ValueError("--model scratch needs a vocabulary: --tokenizer FOLDER (tezukuri build_vocab makes one)")
    files = find(options.tokenizer, options.revision, weights=False)
    tokenizer = tokenizer_of(files.folder)
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=options.hidden_size,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        intermediate_size=4 * options.hidden_size,
        max_position_embeddings=options.max_length,
    )
    model = MaskedLM(Bert(config, pooler=bool(options.labels)), options.labels or ())
    use_kernel(model, options.attention)
    set_dropout(model, options.dropout or 0.0)
    return Loaded(model, tokenizer, LoadReport(f"vocabulary of {files.source}", notes=tokenizer.notes))


def set_dropout(model: nn.Module, rate: float) -> None:
    """The rate for now. The model's configuration, which is saved with it, keeps its own: that is for fine-tuning."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        elif isinstance(module, Attention):
            module.dropout = rate


if __name__ == "__main__":
    run_file(__file__)
