"""Judge a trained classifier on labelled texts.

python scripts/evaluate.py --model mr4/bert-base-jp-sentiment-analysis --data jrte --neutral-band auto
python scripts/evaluate.py --model outputs/…/model --data reviews.csv --split test
"""

import argparse

from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import add_options, plan_of
from tezukuri.train.evaluation import EvaluationPlan, evaluate


def parser() -> argparse.ArgumentParser:
    options = parser_of("evaluate", __doc__)
    add_options(options, EvaluationPlan)
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    evaluate(plan_of(EvaluationPlan, options))
    return 0


if __name__ == "__main__":
    run_file(__file__)
