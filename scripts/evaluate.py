"""Judge a ready classifier on labelled texts.

python scripts/evaluate.py --model mr4/bert-base-jp-sentiment-analysis --data jrte --neutral-band auto
python scripts/evaluate.py --model outputs/…/model --data reviews.csv --split test
"""

import argparse
import sys

from tezukuri.scripts.command import run_file
from tezukuri.scripts.options import add_options, plan_of
from tezukuri.train.evaluation import EvaluationPlan, evaluate


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="evaluate", description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    add_options(options, EvaluationPlan)
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    evaluate(plan_of(EvaluationPlan, options))
    return 0


if __name__ == "__main__":
    run_file(__file__)
