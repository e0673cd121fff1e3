"""MARC-ja of JGLUE: reviews of products, positive or negative, by the rules of its authors' preprocessing.

Source: Kurihara, Kawahara and Shibata, "JGLUE: Japanese General Language Understanding Evaluation", LREC 2022, from the
Multilingual Amazon Reviews Corpus (Keung et al. 2020). https://github.com/yahoojapan/JGLUE has the rules
(preprocess/marc-ja/scripts/marc-ja.py, with the options that its README gives) and lists of review ids (CC BY-SA 4.0).
Nobody distributes the reviews any more: amazon_reviews_multilingual_JP_v1_00.tsv, or .tsv.gz, is for those who have it.

A row has 15 columns with tabs between them, quoted as Python's csv module does it: review_id is column 3, star_rating
column 8, review_body column 14. The splits depend on the number and order of all reviews that the rules keep, so the
file must be whole.
"""

import csv
import html
import io
import random
import string
from collections import Counter
from html.entities import html5
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

from .dataset import BadRow, DataError, Example
from .distributed import File, files_in, find
from .reader import Card, Reader, Repository, few, must_be_given
from .rows import RAW_LENGTH, RowError, Rows, refuse_broken_text

LABELS = ("negative", "positive")
REVIEWS = "amazon_reviews_multilingual_JP_v1_00.tsv"
COLUMNS = 14  # at least; the authors' script looks at no further ones
FOLDER = "preprocess/marc-ja/data"
LISTS = Repository(
    "yahoojapan/JGLUE",
    "6f071c09316baae89c3d083a90985b4b1cb9968c",
    {
        "filter-dev": (f"{FOLDER}/filter_review_id_list/valid.txt", "f44bfadb5fcb1255d7fff5dc6ab8a36c21849e91"),
        "filter-test": (f"{FOLDER}/filter_review_id_list/test.txt", "2679726991e01083371155b7176c1405adf018f8"),
        "label-dev": (f"{FOLDER}/label_conv_review_id_list/valid.txt", "bbc329bb00cd6946ea31cbf30c6179acff00de0f"),
        "label-test": (f"{FOLDER}/label_conv_review_id_list/test.txt", "12e3d5f1b4d0bc62d92a7cb9ec7f5b79f33677be"),
    },
)
ASCII = frozenset(string.printable)
MOST_ASCII = 0.9
LONGEST = 500  # characters
LICENCE = "CC BY-SA 4.0"  # of the lists
CARD = Card(
    "classify",
    "sentiment of product reviews; local copy only, since nobody distributes them any more",
    "187,528 / 5,654 / 5,639",
    "Amazon's own",
    "Kurihara et al., LREC 2022; https://github.com/yahoojapan/JGLUE",
)


def read_marc_ja(path: Path) -> Rows:
    """The reviews in the file, folder or archive; lists of ids from there too, or else downloaded."""
    file = find(path, {"reviews": REVIEWS})[0]["reviews"]
    has_lists = any("_review_id_list/" in name for name in files_in(path))
    lists = find(path if has_lists else LISTS.fetch("marc-ja", LICENCE), LISTS.paths())[0]
    disputed, turned = ({split: ids_of(lists[f"{kind}-{split}"]) for split in ("dev", "test")}
                        for kind in ("filter", "label"))  # fmt: skip
    kept, bad, unwanted = reviews_of(file)

    # The same shuffle and the same cuts as in the authors' script.
    random.Random(1).shuffle(kept)
    first, second = int(len(kept) * 0.94), int(len(kept) * (0.94 + 0.03))
    splits = {"train": kept[:first], "dev": kept[first:second], "test": kept[second:]}
    for split, reviews in splits.items():
        others = set().union(*(ids[s] for ids in (disputed, turned) for s in ids if s != split))
        if wrong := [review.id for review in reviews if review.id in others]:
            raise DataError(
                f"{file.place}: the review {wrong[0]} comes into {split}, but the lists of JGLUE have it elsewhere: it "
                "is not the whole file that they were made from, or not in its order"
            )

    # What workers said of dev and test.
    examples = []
    for split, reviews in splits.items():
        for review in reviews:
            if review.id in disputed.get(split, {}):
                unwanted["its judges disagreed (lists of JGLUE)"] += 1
            else:
                label = turned.get(split, {}).get(review.id, review.label)
                examples.append(Example(review.id, review.text, label, split))
    return Rows(examples, bad, unwanted)


class Review(NamedTuple):
    id: str
    text: str
    label: str


def reviews_of(file: File) -> tuple[list[Review], list[BadRow], Counter[str]]:
    """The reviews that the rules keep, in the order of the file."""
    kept: list[Review] = []
    bad: list[BadRow] = []
    unwanted: Counter[str] = Counter()
    lines = io.TextIOWrapper(io.BytesIO(file.content), encoding="utf-8", errors="surrogateescape")
    before = csv.field_size_limit(1_000_000)
    try:
        rows = csv.reader(lines, delimiter="\t")
        if "review_id" not in (header := next(rows, [])):
            raise DataError(f"{file.place}:1: no column 'review_id', but {few(header)}: is it the file that you mean?")
        for row in rows:
            if len(row) < COLUMNS or row[7] not in set("12345"):
                why = f"{len(row)} columns" if len(row) < COLUMNS else f"star_rating is {row[7]!r} (column 8)"
                bad.append(BadRow(str(file.place), rows.line_num, why, "\t".join(row)[:RAW_LENGTH]))
                continue
            try:
                refuse_broken_text(row[13])
            except RowError as error:
                bad.append(BadRow(str(file.place), rows.line_num, str(error), row[2]))
                continue
            text = without_tags(row[13])
            if row[7] == "3":
                unwanted["3 stars"] += 1
            elif sum(c in ASCII for c in text) >= MOST_ASCII * len(text):
                unwanted["nine tenths of it are ASCII"] += 1
            elif len(text) > LONGEST:
                unwanted[f"longer than {LONGEST} characters"] += 1
            else:
                kept.append(Review(row[2], text, LABELS[int(row[7]) > 3]))
    except csv.Error as error:
        raise DataError(f"{file.place}:{rows.line_num}: {error}") from error
    finally:
        csv.field_size_limit(before)
    return kept, bad, unwanted


def ids_of(file: File) -> dict[str, str]:
    """`R10FXA3Y54Z9OE,negative` or only `R10FXA3Y54Z9OE` a line → id: label, or ""."""
    return {id_: label for id_, _, label in (line.partition(",") for line in file.lines()) if id_}


def without_tags(markup: str) -> str:
    """The text of a piece of HTML, as `BeautifulSoup(markup, "html.parser").get_text()` of their script gives it.

    30,000 random pieces were equal to those of BeautifulSoup 4.15.0. In <pre>, <textarea> and CDATA it does otherwise.
    """
    parser = Markup()
    parser.feed(markup)
    parser.close()
    parser.end_of_piece()
    return "".join(parser.pieces)


class Markup(HTMLParser):
    """Collects the text between tags; a piece of it that is white space alone becomes one space or line break."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.pieces: list[str] = []
        self.piece = ""
        self.hidden = False  # in a script or style sheet

    def end_of_piece(self) -> None:
        if self.piece and not self.piece.strip(" \t\n\f\r"):
            self.piece = "\n" if "\n" in self.piece else " "
        self.pieces.append("" if self.hidden else self.piece)
        self.piece = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.end_of_piece()
        self.hidden = tag in ("script", "style")

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.end_of_piece()

    def handle_endtag(self, tag: str) -> None:
        self.end_of_piece()
        self.hidden = False

    def handle_data(self, data: str) -> None:
        self.piece += data

    def handle_charref(self, name: str) -> None:
        self.piece += html.unescape(f"&#{name};")

    def handle_entityref(self, name: str) -> None:
        self.piece += html5.get(f"{name};", f"&{name}")

    def handle_comment(self, data: str) -> None:
        self.end_of_piece()

    handle_decl = handle_pi = unknown_decl = handle_comment  # type: ignore[assignment]


MARC_JA = Reader(
    read_marc_ja,
    LABELS,
    must_be_given(f"marc-ja needs {REVIEWS}, which nobody distributes any more"),
    card=CARD,
    folder=True,
)
