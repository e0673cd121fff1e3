"""Train a BERT to guess masked words: from scratch, or going on from a checkpoint on texts of your own.

python scripts/pretrain.py --model tohoku-nlp/bert-base-japanese-v3 --text reviews.txt --lr 1e-4 --steps 2000
python scripts/pretrain.py --model scratch --tokenizer vocabulary/ --text wiki.txt.gz talk.txt.gz
"""

import argparse
import shlex
import sys
from pathlib import Path

from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import add_options, plan_of, refuse_beside_resume
from tezukuri.train.pretrain import PretrainingPlan, run_pretraining


def parser() -> argparse.ArgumentParser:
    options = parser_of("pretrain", __doc__)
    add_options(options, PretrainingPlan)
    options.add_argument("--resume", metavar="RUN", help="go on with a run that was stopped; takes no other option")
    return options


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    if options.resume:
        refuse_beside_resume(arguments)
    run = run_pretraining(plan_of(PretrainingPlan, options), Path(options.resume) if options.resume else None)
    model = run / "model"
    print(f"\nmodel   {model}\n\nnext    tezukuri finetune --model {shlex.quote(str(model))} --data …")
    return 0


if __name__ == "__main__":
    run_file(__file__)
