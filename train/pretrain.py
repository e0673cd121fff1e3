"""Pretraining from a plan to the files of its run, for the command of that name."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..eval.plots import pretraining_curves, write_picture
from ..eval.runs import circumstances, new_run, write_csv, write_json
from ..model.attention import KERNELS, Attention
from ..model.bert import Bert, BertConfig
from ..model.model import MaskedLM, most_tokens, use_kernel
from ..model.precision import PRECISIONS, choose_device
from ..model.ranks import ranks
from ..tokenize.kinds import tokenizer_of
from ..weights.files import read_json, sha256_of
from ..weights.find import find
from ..weights.load import Loaded, LoadReport, load_with_report
from ..weights.save import save
from .checkpoint import FILE as CHECKPOINT
from .checkpoint import config_of_stopped_run, told_how_to_go_on
from .plan import MODEL, Options, option
from .pretraining import pretrain
from .settings import OPTIMIZERS, Pretraining

RECIPE = "recipe"


@dataclass(frozen=True, repr=False)
class PretrainingPlan(Options):
    """The options of pretraining. Errors are those of Options."""

    model: str = option("scratch", "folder or hub id to go on from, or scratch (%(default)s)", MODEL)
    revision: str | None = option(None, "branch, tag or commit of the hub", MODEL)
    reset_head: bool = option(False, "put a new head for masked words in place of the model's own", MODEL)
    tokenizer: str | None = option(None, "for --model scratch: folder or hub id of the vocabulary", MODEL)
    layers: int = option(4, "for --model scratch (%(default)s)", MODEL)
    hidden_size: int = option(256, "for --model scratch (%(default)s)", MODEL)
    heads: int = option(4, "for --model scratch (%(default)s)", MODEL)
    attention: str = option("auto", "kernel (%(default)s)", MODEL, choices=["auto", *KERNELS])
    dropout: float | None = option(None, "rate for now (0 from scratch, else its own)", MODEL, metavar="P")
    text: Sequence[str] | None = option(
        None, "files, a passage a line, plain or .gz, or all .npz of encode; twice counts twice", nargs="+"
    )
    labels: Sequence[str] | None = option(
        None, "predict these too, where a line begins with one and a tab", names=True, metavar="A,B,…"
    )
    steps: int = option(Pretraining.steps, "(%(default)s)", RECIPE)
    batch_tokens: int = option(Pretraining.batch_tokens, "tokens in a step (%(default)s)", RECIPE)
    max_length: int = option(Pretraining.max_length, "tokens of a sequence (%(default)s)", RECIPE)
    mask_rate: float = option(Pretraining.mask_rate, "(%(default)s)", RECIPE)
    optimizer: str | None = option(None, "(muon from scratch, else adamw)", RECIPE, choices=list(OPTIMIZERS))
    lr: float = option(Pretraining.lr, "highest learning rate (%(default)s)", RECIPE)
    weight_decay: float = option(Pretraining.weight_decay, "(%(default)s)", RECIPE)
    warmup_ratio: float = option(Pretraining.warmup_ratio, "(%(default)s)", RECIPE)
    look_every: int = option(Pretraining.look_every, "steps between checkpoints (%(default)s)", RECIPE)
    precision: str = option(Pretraining.precision, "(%(default)s)", RECIPE, choices=["auto", *PRECISIONS])
    seed: int = option(Pretraining.seed, "(%(default)s)", RECIPE)
    half: bool = option(False, "save the model in half precision, 2 bytes a weight")

    def settings(self) -> Pretraining:
        given = {one.name: getattr(self, one.name) for one in fields(Pretraining) if hasattr(self, one.name)}
        optimizer = self.optimizer or ("muon" if self.model == "scratch" else "adamw")
        return Pretraining(**given | {"optimizer": optimizer})


def run_pretraining(plan: PretrainingPlan, resume: Path | None = None) -> Path:
    """Carry a plan out, or go on with the run in the folder `resume`; returns the run's folder."""
    # The plan.
    if resume:
        resume = resume.resolve()
        plan = PretrainingPlan.of_run(config_of_stopped_run(resume))
    plan = plan.whole_paths()
    if not plan.text:
        raise ValueError("say what to learn from: --text FILE …")
    if ranks() > 1:
        raise ValueError("pretrain runs as one process: start it without torchrun")
    # The model, and the run folder with its configuration.
    settings = plan.settings()
    device = choose_device(plan.device)
    torch.manual_seed(settings.seed)
    loaded = make(plan)
    model = loaded.model.to(device)
    settings = replace(settings, max_length=min(settings.max_length, most_tokens(model)))
    print(f"text    {', '.join(plan.text)}")
    texts = {text: sha256_of(Path(text)) for text in dict.fromkeys(plan.text) if Path(text).is_file()}
    before = read_json(resume / "config.json").get("texts", texts) if resume else texts  # older runs do not tell
    if changed := [text for text in texts if before.get(text) != texts[text]]:
        raise ValueError(f"{changed[0]} is not what {resume} began with: put it back, or begin anew")
    run = resume or new_run(Path(plan.output_dir), plan.model)
    if not resume:
        config = {"options": asdict(plan), "settings": asdict(settings), "texts": texts}
        config["load_report"] = asdict(loaded.report)
        write_json(run / "config.json", config | circumstances(device))
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"model   {loaded.report}\n        {size:,} parameters\nrun     {run}\n")

    with told_how_to_go_on("pretrain", run):
        train(plan, loaded, settings, run, bool(resume))
    (run / CHECKPOINT).unlink(missing_ok=True)
    return run


def train(plan: PretrainingPlan, loaded: Loaded, settings: Pretraining, run: Path, resume: bool) -> None:
    """Train a model; every row of the log is written with the model of that step."""
    rows: list[dict[str, Any]] = []
    model, files = loaded.model, [Path(text) for text in plan.text or ()]
    print(f"{'step':>8}{'tokens':>14}{'loss':>9}{'tokens/s':>10}{'val loss':>10}{'guessed':>9}{'labels':>8}")
    for row in pretrain(model, loaded.tokenizer, files, settings, run, resume):
        rows.append(row)
        write_csv(run / "log.csv", rows)
        save(model, loaded.tokenizer, run / "model", torch.float16 if plan.half else torch.float32)
        write_picture(run / "curves.png", pretraining_curves, rows)
        val = "" if row["val_loss"] is None else f"{row['val_loss']:>10.4f}{row['val_accuracy']:>9.1%}"
        val += f"{row['val_label_accuracy']:>8.1%}" if row.get("val_label_accuracy") is not None else ""
        print(f"{row['step']:>8}{row['tokens']:>14,}{row['train_loss']:>9.4f}{row['tokens_per_second']:>10,.0f}{val}")


def make(plan: PretrainingPlan) -> Loaded:
    if plan.model != "scratch":
        loaded = load_with_report(
            plan.model,
            "fill-mask",
            plan.labels,
            revision=plan.revision,
            reset_head=plan.reset_head,
            kernel=plan.attention,
        )
        if plan.dropout is not None:
            set_dropout(loaded.model, plan.dropout)
        return loaded
    if not plan.tokenizer:
        raise ValueError("--model scratch needs a vocabulary: --tokenizer FOLDER (tezukuri build_vocab makes one)")
    files = find(plan.tokenizer, plan.revision, weights=False)
    tokenizer = tokenizer_of(files.folder)
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=plan.hidden_size,
        num_hidden_layers=plan.layers,
        num_attention_heads=plan.heads,
        intermediate_size=4 * plan.hidden_size,
        max_position_embeddings=plan.max_length,
    )
    model = MaskedLM(Bert(config, pooler=bool(plan.labels)), plan.labels or ())
    use_kernel(model, plan.attention)
    set_dropout(model, plan.dropout or 0.0)
    return Loaded(model, tokenizer, LoadReport(f"vocabulary of {files.source}", notes=tokenizer.notes))


def set_dropout(model: nn.Module, rate: float) -> None:
    """Set the rate of pretraining; the configuration that is saved keeps the rate for fine-tuning."""
    if not 0 <= rate < 1:
        raise ValueError(f"dropout is {rate}; a dropout rate lies in [0, 1)")
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        elif isinstance(module, Attention):
            module.dropout = rate
