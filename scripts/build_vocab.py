"""Make a WordPiece vocabulary over MeCab words.

    python scripts/build_vocab.py --text wiki.txt.gz talk.txt.gz --size 8192 --output vocabulary/

It needs the `tokenizers` package (pip install "tezukuri[pretrain]"); the folder is for `pretrain --tokenizer`,
`finetune --tokenizer`, and transformers' BertJapaneseTokenizer.
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tezukuri.data.passages import count_lines, passages
from tezukuri.eval.progress import progress_bar
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.settings import Settings
from tezukuri.tokenize.vocabulary import word_splitter
from tezukuri.weights.files import not_written


def parser() -> argparse.ArgumentParser:
    options = parser_of("build_vocab", __doc__)
    options.add_argument("--text", nargs="+", type=Path, required=True, help="files, a passage a line, plain or .gz")
    options.add_argument("--size", type=int, default=8192, help="tokens of the vocabulary (%(default)s)")
    options.add_argument("--characters", type=int, default=2500, help="different characters at most (%(default)s)")
    options.add_argument("--passages", type=int, help="learn from so many passages, drawn at random (all)")
    options.add_argument("--dictionary", choices=["unidic_lite", "ipadic", "unidic"], default="unidic_lite")
    options.add_argument("--lower", action="store_true", help="read everything in lower case")
    options.add_argument("--output", type=Path, required=True, help="folder for vocab.txt and tokenizer_config.json")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    settings = Settings(mecab_dic=options.dictionary, do_lower_case=options.lower)
    split = word_splitter(settings)
    sizes = [count_lines(path) for path in options.text]
    chosen = min(options.passages or sum(sizes), sum(sizes))
    text = islice(passages(options.text, sizes, 0), chosen)
    spaced = (" ".join(split(passage)) for passage in progress_bar(text, "passages", "passage", total=chosen))
    tokenizer = JapaneseTokenizer(learn(spaced, options.size, options.characters, settings), settings)
    try:
        tokenizer.save(options.output)
    except OSError as error:
        raise not_written(options.output, error) from error
    print(f"{options.output}: {tokenizer.vocab_size} tokens")
    return 0


def learn(texts: Iterator[str], size: int, characters: int, settings: Settings) -> list[str]:
    """A vocabulary of texts with spaces between words: special tokens, characters, then pieces, the frequent first."""
    try:
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('learning a vocabulary needs: pip install "tezukuri[pretrain]"') from error
    learner = Tokenizer(models.WordPiece(unk_token=settings.unk_token))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = list(settings.special_tokens)
    trainer = trainers.WordPieceTrainer(vocab_size=size, limit_alphabet=characters, special_tokens=special)
    learner.train_from_iterator(texts, trainer)
    ids = learner.get_vocab()
    pieces = sorted(ids.keys() - set(special), key=lambda piece: (len(piece.removeprefix("##")) > 1, ids[piece]))
    return special + pieces


if __name__ == "__main__":
    run_file(__file__)
