"""Show every computation of a model on one sentence, or a pair, from characters to probabilities.

python scripts/inside.py "駅から近くて[MASK]でした。"
python scripts/inside.py "駅から近くて[MASK]でした。" --layer 2 --head 3 --picture attention.svg
python scripts/inside.py "駅から近くて便利でした。" --model outputs/…/model
python scripts/inside.py "犬が走っています。" --pair "動物が走っています。" --tokens --model small
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from tezukuri.data.rows import shown
from tezukuri.eval import inside_lines as lines_of
from tezukuri.eval.inside import Tokens, load, load_tokenizer, tokenize, trace
from tezukuri.eval.plots import attention_map
from tezukuri.eval.predict import how_to_cut
from tezukuri.eval.runs import write_whole
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import positive
from tezukuri.weights.load import log

PICTURES = (".png", ".svg")
Blocks = list[tuple[str, Iterable[str]]]  # headings, and the lines below them


def parser() -> argparse.ArgumentParser:
    options = parser_of("inside", __doc__)
    options.add_argument("text", help="the sentence; a masked-language model guesses the words at [MASK] in it")
    options.add_argument("--pair", metavar="TEXT", help="a second sentence, which is read together with the first")
    options.add_argument(
        "--model", default="mini", help="folder or hub id, of a classifier, MaskedLM or encoder (%(default)s)"
    )
    options.add_argument("--revision", help="branch, tag or commit of the hub")
    options.add_argument("--layer", type=positive, default=1, help="whose attention to show, from 1 (%(default)s)")
    options.add_argument("--head", type=positive, default=1, help="which of its heads, from 1 (%(default)s)")
    options.add_argument(
        "--tokens",
        action="store_true",
        help="show the tokens alone, of any model's tokenizer; [MASK] and the like are special",
    )
    options.add_argument("--picture", type=picture_file, metavar="FILE", help="draw the attention: .svg or .png")
    return options


def picture_file(name: str) -> Path:
    """A file to draw into, for argparse."""
    path = Path(name)
    if path.suffix not in PICTURES:
        raise argparse.ArgumentTypeError(f"{name!r} must end in {' or '.join(PICTURES)}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {str(path.parent)!r}")
    return path


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.tokens:
        if options.picture:
            raise ValueError("--picture draws the attention, and with --tokens there is none: leave one of them out")
        tokenizer = load_tokenizer(options.model, options.revision)
        for note in tokenizer.notes:
            log.warning("%s", note)
        show(token_blocks(tokenize(tokenizer, options.text, options.pair, how={})))
        return 0
    loaded = load(options.model, options.revision)
    if loaded.report.notes:
        log.warning("%s", loaded.report)
    how, said = how_to_cut(loaded.model, loaded.cut)
    for sentence in said:
        log.warning("%s", sentence)
    if loaded.task.get("pairs") not in (None, options.pair is not None):
        told = (
            "single texts: what it says of a pair may mean nothing" if options.pair else "pairs: give --pair TEXT too"
        )
        log.warning("the model was trained on %s", told)
    traced = trace(loaded.model, loaded.tokenizer, options.text, how, options.pair)
    attention = traced.attention(options.layer, options.head)  # before anything is printed: there may be no such head
    # The lines of each computation, then the picture.
    title = f"attention of layer {options.layer}, head {options.head}"
    show(
        [
            (f"model {shown(options.model)}", [lines_of.size_line(traced)]),
            *token_blocks(traced.tokens),
            (
                f"stages, with the first values at token {traced.token} (head {options.head})",
                lines_of.stage_lines(traced, traced.stages, options.head),
            ),
            (
                f"{title}: each row attends to the columns",
                lines_of.attention_lines(traced, options.layer, options.head),
            ),
            *([("answers", lines_of.answer_lines(traced, traced.answers))] if traced.answers else []),
        ]
    )
    if options.picture:
        labels = [f"{i} {shown(token)}" for i, token in enumerate(traced.encoding.tokens)]
        write_whole(options.picture, attention_map(attention, labels, title, options.picture.suffix[1:]))
        print(f"\npicture {shown(str(options.picture))}")
    return 0


def token_blocks(tokens: Tokens) -> Blocks:
    first, *second = tokens.texts
    return [
        ("text", lines_of.text_lines(tokens)),
        ("words", lines_of.word_lines(first.words)),
        *(("words of the second text", lines_of.word_lines(read.words)) for read in second),
        ("tokens", lines_of.token_lines(tokens)),
    ]


def show(blocks: Blocks) -> None:
    for number, (heading, lines) in enumerate(blocks):
        print("\n" * bool(number) + heading)
        for line in lines:
            print(f"  {line}")


if __name__ == "__main__":
    run_file(__file__)
