"""Which methods against over-fitting help: many of them on JRTE, with five seeds each, and docs/overfitting.md from it.

    python benchmarks/overfitting.py --jobs 2
    python benchmarks/overfitting.py --jobs 2 --model tohoku-nlp/bert-base-japanese-v3

The first takes about an hour and a half on two cores. Runs that are finished are never made again: whoever stops it
goes on with the same command, and whoever adds a method to the list waits for its runs alone.
"""

import argparse
import shlex
import sys
from pathlib import Path

from tezukuri.eval.runs import write_whole
from tezukuri.scripts import compare

# One of each kind; all with their defaults, since tuning them would take a study for each.
METHODS = [
    "label-smoothing",
    "focal",
    "judge-votes",
    "r-drop",
    "supcon",
    "fgm",
    "ema",
    "mixout",
    "layer-decay",
    "child-tuning",
    "layer-drop",
    "multi-sample-dropout",
    "hidden-mixup",
    "word-dropout",
    "temperature",
    "--epochs 10",
    "--epochs 10 --select best-loss --patience 2",
]
DOCS = Path(__file__).parent.parent / "docs"
BEFORE = """\
# What helps against over-fitting?

{count} methods and the best pair of them, `{model}` on JRTE ({seconds:.0f} seconds of training in all): this page and
its picture are written by one command,

```console
{command}
```

which is [compare.py](../scripts/compare.py) with a list of methods: yours are compared with
`tezukuri compare --method … -- --data …`. What the methods are: [regularizers.md](regularizers.md), in Japanese
[regularizers.ja.md](regularizers.ja.md). `--epochs 10` is the baseline trained longer, to see over-fitting at all, and
the line with `--patience 2` is early stopping on the loss.

Nothing here is sure beyond this model and these texts. Sentences marked **fact** were measured here; what may follow
from them is marked **possibility**.

"""


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("--model", default="mini")
    options.add_argument("--data-path", help="JRTE's pn.tsv (else it is downloaded)")
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--jobs", type=int, default=1)
    options.add_argument("--study", type=Path, default=Path("outputs/overfitting"))
    chosen = options.parse_args()
    common = ["--model", chosen.model, "--data", "jrte"]
    common += ["--data-path", chosen.data_path] if chosen.data_path else []
    asked = [f"--method={method}" for method in METHODS]
    asked += ["--seeds", str(chosen.seeds), "--jobs", str(chosen.jobs), "--study", str(chosen.study)]
    compare.main([*asked, "--pairs-of", "2", "--soup", "--", *common])

    text = (chosen.study / "comparison.md").read_text(encoding="utf-8")
    rows = (chosen.study / "runs.csv").read_text(encoding="utf-8").splitlines()
    seconds = sum(float(row.rpartition(",")[2]) for row in rows[1:])
    shown = [argument for argument in sys.argv[1:] if argument not in ("--data-path", chosen.data_path)]
    command = shlex.join(["python", "benchmarks/overfitting.py", *shown])
    before = BEFORE.format(count=len(METHODS), model=chosen.model, seconds=seconds, command=command)
    body = text.removeprefix("# Comparison\n\n").replace("(curves.png)", "(overfitting.png)")
    write_whole(DOCS / "overfitting.md", before + body)
    write_whole(DOCS / "overfitting.png", (chosen.study / "curves.png").read_bytes())


if __name__ == "__main__":
    main()
