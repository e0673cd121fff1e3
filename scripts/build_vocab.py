"""Make a vocabulary from texts: of WordPiece over MeCab words, or of unigram pieces over the text as it stands.

    python scripts/build_vocab.py --text wiki.txt.gz talk.txt.gz --size 8192 --output vocabulary/
    python scripts/build_vocab.py --kind unigram --text wiki.txt.gz talk.txt.gz --size 8192 --output pieces/

It needs the `tokenizers` package (pip install "tezukuri[pretrain]"); the folder is for `pretrain --tokenizer`,
`finetune --tokenizer`, and transformers' AutoTokenizer (BertJapaneseTokenizer for WordPiece).
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tezukuri.data.passages import count_lines, passages
from tezukuri.eval.progress import progress_bar
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import positive
from tezukuri.tokenize.learn import learn_unigram, learn_wordpiece
from tezukuri.tokenize.settings import Settings
from tezukuri.weights.files import not_written


def parser() -> argparse.ArgumentParser:
    options = parser_of("build_vocab", __doc__)
    options.add_argument("--kind", choices=["wordpiece", "unigram"], default="wordpiece", help="(%(default)s)")
    options.add_argument("--text", nargs="+", type=Path, required=True, help="files, a passage a line, plain or .gz")
    options.add_argument("--size", type=positive, default=8192, help="tokens of the vocabulary (%(default)s)")
    options.add_argument("--characters", type=positive, default=2500, help="different characters at most (%(default)s)")
    options.add_argument("--passages", type=positive, help="learn from so many passages, drawn at random (all)")
    options.add_argument(
        "--dictionary", choices=["unidic_lite", "ipadic", "unidic"], help="of MeCab, for wordpiece (unidic_lite)"
    )
    options.add_argument("--lower", action="store_true", help="read everything in lower case")
    options.add_argument("--output", type=Path, required=True, help="folder for the tokenizer's files")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.kind == "unigram" and options.dictionary:
        raise ValueError("--dictionary is MeCab's, and --kind unigram reads texts without MeCab: leave it out")
    sizes = [count_lines(path) for path in options.text]
    chosen = min(options.passages or sum(sizes), sum(sizes))

    def texts() -> Iterator[str]:
        drawn = islice(passages(options.text, sizes, 0), chosen)
        return iter(progress_bar(drawn, "passages", "passage", total=chosen))

    settings = Settings(mecab_dic=options.dictionary or "unidic_lite", do_lower_case=options.lower)
    learn = learn_unigram if options.kind == "unigram" else learn_wordpiece
    tokenizer = learn(texts, options.size, options.characters, settings)
    try:
        tokenizer.save(options.output)
    except OSError as error:
        raise not_written(options.output, error) from error
    for note in tokenizer.notes:
        print(f"note    {note}")
    print(f"{options.output}: {tokenizer.vocab_size} tokens")
    return 0


if __name__ == "__main__":
    run_file(__file__)
