"""Find the texts of a file that are most like a query.

python scripts/search.py --file corpus.csv --text-column review 駅に近いホテル 静かな部屋 -k 5
python scripts/search.py --file corpus.txt --queries queries.txt --output hits.jsonl
python scripts/search.py --file corpus.txt --vectors vectors.npy 駅に近いホテル
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tezukuri.data.rows import shown
from tezukuri.data.texts import EMPTY, Row, read_texts
from tezukuri.eval.encoder import DOCUMENT, Encoder
from tezukuri.eval.hits import Hit
from tezukuri.eval.progress import progress_bar
from tezukuri.eval.runs import write_jsonl
from tezukuri.eval.vector_files import Without, embedded, read_npy
from tezukuri.model.ranks import rank
from tezukuri.scripts.command import parser_of, run_file
from tezukuri.scripts.options import add_encoder_options, positive


def parser() -> argparse.ArgumentParser:
    options = parser_of("search", __doc__)
    options.add_argument("query", nargs="*", help="texts to find others for")
    add_encoder_options(options)
    options.add_argument("--queries", metavar="FILE", help="more of them: .csv, .tsv or .jsonl; else a text a line")
    options.add_argument("--query-column", metavar="NAME", help="of a table of queries (text)")
    options.add_argument("--vectors", type=Path, metavar="FILE.npy", help="of `tezukuri embed`, of the same --file")
    options.add_argument("-k", type=positive, default=10, help="so many hits for each query (%(default)s)")
    options.add_argument("--output", type=Path, metavar="FILE.jsonl", help="the hits, instead of printing them")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    refuse_output(options)
    queries = queries_of(options)
    rows = rows_of(options.file, options.text_column, options)
    if all(row.reason for row in rows):
        raise ValueError(f"{options.file} has no texts to be found")
    encoder = Encoder.load(
        options.model, options.revision, options.device, options.precision, max_length=options.max_length
    )
    vectors = vectors_of(encoder, rows, options)
    found = encoder.search(queries, vectors, options.k)
    if options.output and not rank():
        answers = zip(queries, found, strict=True)
        write_jsonl(
            options.output, ({"query": query, "hits": [told(rows, hit) for hit in hits]} for query, hits in answers)
        )
        tell(f"hits of {len(queries)} queries are in {options.output}")
    for query, hits in [] if options.output else zip(queries, found, strict=True):
        print(shown(query))
        for number, score, _ in hits:
            print(f"  {score:.3f}  {shown(rows[number].text)}")
    return 0


def refuse_output(options: argparse.Namespace) -> None:
    """ValueError for an output that cannot be, or would replace what is read."""
    output = options.output
    if output and output.suffix.lower() != ".jsonl":
        raise ValueError(f"--output {output}: hits are written as .jsonl")
    if output and not output.parent.is_dir():
        raise ValueError(f"--output {output}: there is no folder {output.parent}; make it first")
    for source in filter(None, (options.file, options.queries)):
        if output and output.exists() and Path(source).exists() and output.samefile(source):
            raise ValueError(f"--output would replace {source}, which is read: choose another name")


def told(rows: list[Row], hit: Hit) -> dict[str, Any]:
    return {"id": rows[hit.number].id, "score": hit.score, "text": rows[hit.number].text}


def queries_of(options: argparse.Namespace) -> list[str]:
    """Those of the command line, then those of --queries."""
    if options.query_column and not options.queries:
        raise ValueError("--query-column is of a file of queries: give that too (--queries)")
    for query in options.query:
        if query.strip() in EMPTY:
            raise ValueError("a query is empty: leave it out")
    asked = [Row("", query) for query in options.query]
    asked += rows_of(options.queries, options.query_column, options) if options.queries else []
    queries = [row.text for row in asked if not row.reason]
    if not queries:
        raise ValueError("there is no query: give one, or a file of them (--queries)")
    return queries


def rows_of(file: str, column: str | None, options: argparse.Namespace) -> list[Row]:
    """All rows of a file; those without a text are told."""
    texts = read_texts(file, column, options.bad_rows, encoding=options.encoding)
    rows, without = list(texts.rows), Without()
    for row in rows:
        if row.reason:
            without.add(row)
    for sentence in [*texts.notes, *without.sentences()]:
        tell(sentence)
    return rows


def vectors_of(encoder: Encoder, rows: list[Row], options: argparse.Namespace) -> np.ndarray:
    """(n, H), NaN for rows without a text: those of --vectors, or made here."""
    usual = encoder.usual(DOCUMENT)
    if options.vectors:
        vectors, prompt = read_npy(options.vectors, encoder, rows, options.file)
        expected = encoder.vectors.before(usual)
        if prompt != expected:
            tell(f"{options.vectors} was made with {prompt!r} before each text, where search itself sets {expected!r}")
        return vectors
    vectors = np.full((len(rows), encoder.size), np.nan, dtype=np.float32)
    bar = progress_bar(embedded(encoder, rows, usual, options.batch_size), "embedded", "row", total=len(rows))
    for number, (_, vector) in enumerate(bar):
        if vector is not None:
            vectors[number] = vector
    return vectors


def tell(sentence: str) -> None:
    if not rank():
        print(f"search: {sentence}", file=sys.stderr)


if __name__ == "__main__":
    run_file(__file__)
