"""Make sentence vectors of the texts of a file.

python scripts/embed.py --file texts.csv --text-column text --output vectors.npy
python scripts/embed.py --model intfloat/multilingual-e5-small --file texts.txt --output vectors.parquet

Beside vectors.npy, which has a row for each of the file's, vectors.csv tells their ids and texts, and vectors.json what
`search --vectors` must know.
"""

import argparse
import sys
from collections import deque
from pathlib import Path

from tezukuri.data.texts import read_texts
from tezukuri.eval.encoder import Encoder
from tezukuri.eval.progress import progress_bar
from tezukuri.eval.vector_files import WRITERS, Without, embedded, files_of, libraries, made_by
from tezukuri.model.ranks import rank
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import add_encoder_options


def parser() -> argparse.ArgumentParser:
    options = parser_of("embed", __doc__)
    add_encoder_options(options)
    options.add_argument("--output", type=Path, required=True, metavar="FILE", help=f"one of {', '.join(WRITERS)}")
    options.add_argument("--prompt", metavar="NAME", help="of what stands before each text (as the model says)")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    output, source = options.output, Path(options.file)
    if output.suffix.lower() not in WRITERS:
        raise ValueError(f"--output {output}: the suffix tells the format, and must be one of {', '.join(WRITERS)}")
    if not output.parent.is_dir():
        raise ValueError(f"--output {output}: there is no folder {output.parent}; make it first")
    written = files_of(output)
    for file in written:
        if file.exists() and source.exists() and file.samefile(source):
            raise ValueError(f"--output {output} would replace {source}, which is read: choose another name")
    for file in written[1:]:
        if file.exists() and not all(other.exists() for other in written):
            raise ValueError(
                f"--output {output} has {file} beside it, which is there already, and not of such a file: choose "
                "another name, or remove it"
            )
    if output.suffix.lower() == ".parquet":
        libraries()
    # The file is looked through before the model is loaded, so that no row ends the job halfway.
    texts = read_texts(options.file, options.text_column, options.bad_rows, encoding=options.encoding)
    number = sum(1 for _ in texts.rows)
    for note in texts.notes:
        tell(note)
    encoder = Encoder.load(
        options.model, options.revision, options.device, options.precision, max_length=options.max_length
    )
    made = made_by(encoder, options.model, options.prompt)
    without = Without()
    rows = without.counting(embedded(encoder, texts.rows, options.prompt, options.batch_size))
    if rank():
        deque(rows, maxlen=0)
        return 0
    bar = progress_bar(rows, "embedded", "row", total=number)
    WRITERS[output.suffix.lower()](output, iter(bar), number, encoder.size, made)
    for sentence in without.sentences():
        tell(sentence)
    files = " and ".join(map(str, files_of(output)))
    tell(f"{number} rows, {number - without.number} of them with a vector of {encoder.size} numbers, are in {files}")
    return 0


def tell(sentence: str) -> None:
    print(f"embed: {sentence}", file=sys.stderr)


if __name__ == "__main__":
    run_file(__file__)
