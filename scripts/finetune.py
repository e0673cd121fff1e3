"""Fine-tune a BERT on labelled texts, and judge it; without options, small on the sample reviews of this package.

python scripts/finetune.py
python scripts/finetune.py --model tohoku-nlp/bert-base-japanese-v3 --data jrte
python scripts/finetune.py --data reviews.csv --label-column stars
"""

import argparse
import shlex
import sys

from tezukuri.data.jrte import LABELS
from tezukuri.eval.failures.table import kind_of
from tezukuri.scripts.command import command_line, parser_of, run_file
from tezukuri.scripts.options import TRUST, add_options, plan_of, refuse_beside_resume
from tezukuri.train.finetune import finetune
from tezukuri.train.plan import Plan
from tezukuri.train.regularizers.shelf import listing
from tezukuri.train.run import Run

SENTENCES = ["駅から近くて、夜も静かでした。", "お湯がぬるく、部屋も狭かったです。", "出張で一泊しました。"]


def parser() -> argparse.ArgumentParser:
    options = parser_of("finetune", __doc__)
    add_options(options, Plan)
    options.add_argument("--list-regularizers", action="store_true", help="name them, with defaults, and end")
    options.add_argument("--resume", metavar="RUN", help="go on with a run that was stopped; takes no other option")
    options.add_argument("--trust", action="store_true", help=f"beside --resume: {TRUST}")
    return options


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    if options.list_regularizers:
        print(listing())
        return 0
    if options.resume:
        refuse_beside_resume(arguments)
        run = finetune(resume=options.resume, trust=options.trust)
    elif options.trust:
        raise ValueError("--trust is for a run that is resumed: give --resume RUN too, or leave it out")
    else:
        run = finetune(plan_of(Plan, options))
    if run.data.labels == LABELS and run.task.classes and not run.task.pairs:
        print("\nthree new sentences:\n")
        for text, prediction in zip(SENTENCES, run.classifier(SENTENCES), strict=True):
            print(f"  {prediction.label:<9} {prediction.probability:.3f}  {text}")
    if run.plan.save_model == "best":
        print(f"\n{what_next(run)}")
    return 0


def what_next(run: Run) -> str:
    """Commands to go on with."""
    tezukuri = command_line()
    folder, model = (shlex.quote(str(path)) for path in (run.folder, run.folder / "model"))
    page: dict[str, str] = {}
    kind = kind_of(run.task)
    if kind and kind.nats and run.plan.report:  # scores are neither right nor wrong
        page = {f"failures {folder} --against RUN": "the page again, beside another run"}
    elif kind and not run.plan.report:
        page = {f"failures {folder}": "every mistake, on one page"}
    if run.vectors:
        page |= {f"embed --model {model} --file FILE.csv --output vectors.npy": "sentence vectors of texts of your own"}
    predict = f"predict --model {model} 文"
    if run.task.pairs:
        predict = f"predict --model {model} --file FILE.csv --text-column … --pair-column …"
    if run.task.labels_are == "choice":
        predict = f"predict --model {model} --file FILE.csv --text-column … --choice-columns …,…"
    commands = {
        predict: "label texts of your own",
        **page,
        "finetune --data jrte": "the same on 5,553 real hotel reviews",
        "finetune --model tohoku-nlp/bert-base-japanese-v3 --data jrte": "a BERT of full size; it needs a GPU",
        "finetune --data FILE.csv --text-column … --label-column …": "your own labelled texts",
    }
    return "next    " + "\n        ".join(f"{tezukuri} {what}\n            {why}" for what, why in commands.items())


if __name__ == "__main__":
    run_file(__file__)
