"""Train several models, at several learning rates, with several seeds or folds, and put the results into tables.

python scripts/sweep.py --models hpprc --lrs 1e-5 3e-5 5e-5 --seeds 5 -- --data livedoor --recipe hpprc
python scripts/sweep.py --models small mini ./mine --folds 5 --jobs 2 -- --data reviews.csv
"""

import argparse

from tezukuri.scripts.command import main as command
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import positive
from tezukuri.scripts.study_options import add_study_options, once, study_of
from tezukuri.train.models import LISTS, models_of
from tezukuri.train.study import refuse_failed
from tezukuri.train.sweep import sweep


def parser() -> argparse.ArgumentParser:
    options = parser_of("sweep", __doc__)
    options.add_argument(
        "--models",
        nargs="+",
        action="extend",
        default=[],
        metavar="MODEL",
        help="as finetune takes them, or name@revision; or a .toml file of them, or a list that has a name: "
        + ", ".join(LISTS),
    )
    options.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="METHOD",
        help="as compare takes it, or baseline (no regularizers), or default (those of the recipe); once for each",
    )
    options.add_argument("--seeds", type=positive, help="how many: 1, 2, … (5; with --folds 1)")
    options.add_argument("--folds", type=int, default=0, metavar="K", help="K-fold cross-validation of train and dev")
    add_study_options(options, "outputs/sweep")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    models = once("model", models_of(options.models))
    seeds = options.seeds or (1 if options.folds else 5)
    study = study_of(options, models=models, seeds=seeds, folds=options.folds)
    print(sweep(study))
    files = [study.folder / name for name in ("sweep.md", "runs.csv")]
    print("\n".join(f"study   {file}" for file in files if file.is_file()))
    status = 0
    if (study.folder / "all.csv").is_file():
        status = command(["aggregate", str(study.folder), "--output", str(study.folder)])
    refuse_failed(study.folder)
    return status


if __name__ == "__main__":
    run_file(__file__)
