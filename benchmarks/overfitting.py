"""Which methods against over-fitting help: many of them on JRTE, with five seeds each, and docs/overfitting.md from it.

    python benchmarks/overfitting.py --jobs 2

It takes about an hour and a half on two cores. Finished runs are kept: after a stop, the same command continues, and a
method that is added to the list costs only its own runs.
"""

import argparse
from pathlib import Path

from tezukuri.eval.runs import write_whole
from tezukuri.scripts import compare
from tezukuri.weights.files import read_json

MODEL = "mini"
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
    "r-drop + judge-votes",
]
DOCS = Path(__file__).parent.parent / "docs"
BEFORE = """\
# What helps against over-fitting?

{count} methods with their default strengths, and a pair of two of them, compared for `{model}` on JRTE.
This page and its picture were written on {date} by

```console
{command}
```

on {machine}, at commit {commit}. The command runs [compare.py](../scripts/compare.py) with a list of methods;
`tezukuri compare --method … -- --data …` compares methods of your choice. [regularizers.md](regularizers.md) explains
the methods, in Japanese [regularizers.ja.md](regularizers.ja.md). `--epochs 10` is the baseline trained longer, to see
what follows the lowest loss. The row with `--patience 2` is early stopping on the loss. The pair,
`r-drop + judge-votes`, was added after three seeds of the other methods: of the single methods, r-drop had the highest
accuracy on dev and judge-votes the lowest loss.

Sentences marked **fact** state what was measured, on this model and these texts. Sentences marked **possibility** state
what may follow from it.

"""


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("--data-path", help="JRTE's pn.tsv (else it is downloaded)")
    options.add_argument("--jobs", type=int, default=1)
    options.add_argument("--study", type=Path, default=Path("outputs/overfitting"))
    chosen = options.parse_args()
    common = ["--model", MODEL, "--epochs", "4", "--data", "jrte"]
    common += ["--data-path", chosen.data_path] if chosen.data_path else []
    asked = [*(f"--method={method}" for method in METHODS), "--jobs", str(chosen.jobs), "--study", str(chosen.study)]
    compare.main([*asked, "--soup", "--", *common])

    config = read_json(next(chosen.study.glob("baseline/seed-1/*/*/*/config.json")))
    before = BEFORE.format(
        count=len(METHODS) - 1,
        model=MODEL,
        date=config["started"][:10],
        command=f"python benchmarks/overfitting.py --jobs {chosen.jobs}",
        machine=f"{config['machine']['cpus']} CPU cores in {config['precision']}",
        commit=(config["git"] or "unknown")[:10],
    )
    text = (chosen.study / "comparison.md").read_text(encoding="utf-8")
    write_whole(
        DOCS / "overfitting.md", before + text.removeprefix("# Comparison\n\n").replace("(curves", "(overfitting")
    )
    write_whole(DOCS / "overfitting.png", (chosen.study / "curves.png").read_bytes())


if __name__ == "__main__":
    main()
