"""Tokenize texts once, into a file for pretraining on a GPU, which learns faster than a tokenizer reads.

python scripts/encode.py --tokenizer vocabulary/ --text wiki.txt.gz talk.txt.gz --output corpus.npz
python scripts/pretrain.py --model scratch --tokenizer vocabulary/ --text corpus.npz
"""

import argparse
from pathlib import Path

from tezukuri.data.passages import count_lines, passages
from tezukuri.eval.progress import progress_bar
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import label_list, positive
from tezukuri.tokenize.kinds import tokenizer_of
from tezukuri.train.sequences import IDS, write_ids
from tezukuri.train.settings import Pretraining
from tezukuri.weights.find import find


def parser() -> argparse.ArgumentParser:
    options = parser_of("encode", __doc__)
    options.add_argument("--tokenizer", required=True, help="folder or hub id of the vocabulary")
    options.add_argument("--revision", help="branch, tag or commit of the hub")
    options.add_argument("--text", nargs="+", type=Path, required=True, help="files, a passage a line, plain or .gz")
    options.add_argument(
        "--labels", type=label_list, default=[], help="those that pretrain is to predict", metavar="A,B,…"
    )
    longest = Pretraining.max_length
    options.add_argument("--max-length", type=positive, default=longest, help="tokens of a sequence (%(default)s)")
    options.add_argument("--output", type=Path, required=True, metavar=f"FILE{IDS}")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.output.suffix != IDS:
        raise ValueError(f"the output is {options.output}: its name must end with {IDS}")
    if not options.output.parent.is_dir():
        raise ValueError(f"--output {options.output}: there is no folder {options.output.parent}; make it first")
    max_length = Pretraining(max_length=options.max_length).max_length  # refused where there is no room for a token
    tokenizer = tokenizer_of(find(options.tokenizer, options.revision, weights=False).folder)
    sizes = [count_lines(path) for path in options.text]
    text = progress_bar(passages(options.text, sizes, 0), "encoding", "passage", total=sum(sizes))
    tokens = write_ids(options.output, text, tokenizer, max_length, options.labels)
    print(f"{options.output}: {tokens:,} tokens")
    return 0


if __name__ == "__main__":
    run_file(__file__)
