"""The livedoor news corpus: 7,367 articles of nine Japanese news sites, of which each is a class.

Source: RONDHUIT Co., https://www.rondhuit.com/download.html#ldcc (ldcc-20140209.tar.gz); licence CC BY-ND 2.1 JP. Form,
normalisation and splits are those of hppRC's bert-classification-tutorial (src/prepare.py).

An article is `text/<category>/<category>-<number>.txt`: its address, its date, its title, and, on all further lines,
its body.
"""

import hashlib
import io
import json
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, TypeVar

from .archive import members
from .dataset import SPLITS, BadRow, DataError, Example
from .distributed import BROKEN
from .download import cache_folder, download
from .reader import Card, Reader, few
from .rows import RAW_LENGTH, RowError, Rows, refuse_bad_rows, refuse_broken_text

LABELS = (
    "dokujo-tsushin", "it-life-hack", "kaden-channel", "livedoor-homme", "movie-enter", "peachy", "smax",
    "sports-watch", "topic-news",
)  # fmt: skip
NOT_ARTICLES = ("LICENSE.txt", "README.txt", "CHANGES.txt")
PAGE = "https://www.rondhuit.com/download.html#ldcc"
URL = "https://www.rondhuit.com/download/ldcc-20140209.tar.gz"
# Of the names of all articles, sorted; and of names and contents. The hash of RONDHUIT's archive itself is not known to
# us: ours were read from a copy of its files.
NAMES = "c7e10e9dfd8fec2ac6e0e69a04ad5df77ba5d21af6b122ff35f8feaec6b7629a"
CONTENTS = "7bb8e6f2583091388d632866f52ad4430820c008b6f44e3139b419dbae587c17"
CARD = Card(
    "classify",
    "which of nine news sites an article (title and body) is from",
    "5,895 / 736 / 736",
    "CC BY-ND 2.1 JP",
    f"RONDHUIT; {PAGE}",
)
DRAWN = (
    "split at random into 8 : 1 : 1 of the articles sorted by path, not class by class (seed {seed}): the tutorial's "
    "way, but not its splits, which come from an unsorted list that cannot be repeated"
)

Only = Literal["both", "title", "body"]
Item = TypeVar("Item")


class Article(NamedTuple):
    """An article as the tutorial keeps it: title and body in NFKC, the body without empty lines."""

    category: str
    name: str  # "movie-enter-5844065"
    url: str
    date: str
    title: str
    body: str


def read_livedoor(path: Path, only: Only = "both") -> Rows:
    """Titles with their bodies as second texts, or one of them alone."""
    articles, bad, notes = articles_in(path)
    examples = []
    for one in articles:
        text, pair = (one.title, one.body) if only == "both" else (getattr(one, only), None)
        examples.append(Example(one.name, text, one.category, split="", pair=pair))
    return Rows(examples, bad, notes=notes)


def articles_in(path: Path) -> tuple[list[Article], list[BadRow], list[str]]:
    """The articles of the archive or folder, sorted by path; those that are broken; and notes.

    Raises:
        DataError: there is none, or the archive is broken or could do harm.
    """
    files, others = sorted_files(path)
    if not files:
        raise DataError(
            f"{path} has no articles <category>/*.txt of {few(LABELS)}: give ldcc-20140209.tar.gz, or its folder"
        )
    articles, bad, places = [], [], dict[str, str]()
    for name, content in files:
        try:
            article = article_of(name, content)
            if article.name in places:
                raise BrokenArticleError(1, f"the id {article.name!r} is already that of {places[article.name]}")
            places[article.name] = name
            articles.append(article)
        except BrokenArticleError as error:
            raw = content[:RAW_LENGTH].decode("utf-8", "backslashreplace")
            bad.append(BadRow(str(path / name), error.line, str(error), raw))
    notes = []
    if others:
        n = others.total()
        are = f"{n} file{' is no article' if n == 1 else 's are no articles'}"
        notes.append(f"{are}: {few([name for name, _ in others.most_common()])}")
    if missing := [label for label in LABELS if not any(one.category == label for one in articles)]:
        notes.append(f"no articles of {few(missing)}")
    if hash_of(part for name, content in files for part in (in_bytes(name), content)) != CONTENTS:
        notes.append(f"these {len(files):,} articles are not the 7,367 of the corpus, or not letter by letter")
    return articles, bad, notes


class BrokenArticleError(RowError):
    """Why a file is no article, and from which line on."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


def article_of(name: str, content: bytes) -> Article:
    """An article from its file; BrokenArticleError where it is none."""
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines = text.splitlines()
    if not name.isascii() and re.search("[\udc80-\udcff]", name):
        raise BrokenArticleError(1, "the name of the file is not UTF-8")
    for number, line in enumerate(lines if re.search("[\udc80-\udcff]", text) else (), start=1):
        try:
            refuse_broken_text(line)
        except RowError as error:
            raise BrokenArticleError(number, str(error)) from error
    url, date, title, *body = [unicodedata.normalize("NFKC", line).strip() for line in [*lines, "", "", ""]]
    if not re.match("https?://", url):
        raise BrokenArticleError(1, "the first line is no address (http://…), as that of an article is")
    if not re.match(r"\d{4}-\d\d-\d\d", date):
        raise BrokenArticleError(2, "the second line is no date (2011-09-07T19:35:00+0900), as that of an article is")
    if not title:
        raise BrokenArticleError(3, "the third line, the title, is empty")
    kept = "\n".join(line for line in body if line)
    if not kept:
        raise BrokenArticleError(4, "there is no body behind the title")
    category, file = ending(name)
    return Article(category, file.removesuffix(".txt"), lines[0].strip(), lines[1].strip(), title, kept)


# --- splits, and the tutorial's files -----------------------------------------------------------------------------


def tenths(items: list[Item], seed: int) -> dict[str, list[Item]]:
    """Shuffled, and cut into eight tenths for train, one for dev and one for test; the first tenths have one more."""
    order = list(items)
    random.Random(seed).shuffle(order)
    size, more = divmod(len(order), 10)
    first, second = (n * size + min(n, more) for n in (8, 9))
    return dict(zip(SPLITS, (order[:first], order[first:second], order[second:]), strict=True))


def draw(examples: list[Example], seed: int) -> tuple[list[Example], list[str]]:
    """The examples in their splits, shuffled, and a note."""
    splits = tenths(examples, seed)
    trained = {example.content for example in splits["train"]}
    same = sum(example.content in trained for split in ("dev", "test") for example in splits[split])
    note = DRAWN.format(seed=seed) + (f"; {same} texts of dev and test stand in train too" if same else "")
    return [replace(example, split=split) for split, some in splits.items() for example in some], [note]


def tutorial_files(path: Path | None, seed: int, bad_rows: str = "error") -> tuple[dict[str, str], list[str]]:
    """Name → content of the tutorial's five files, from the archive or folder (None: downloaded), and notes.

    Their splits are those of `--data livedoor` with the same `--split-seed`. Errors are those of `articles_in`; a
    broken article is one, unless `bad_rows` is `skip`.
    """
    if path is not None and not path.exists():
        raise DataError(f"no such file or folder: {path}")
    articles, bad, notes = articles_in(path or fetch())
    if bad_rows == "error":
        refuse_bad_rows(bad)
    splits, names = tenths(articles, seed), {"train": "train", "dev": "val", "test": "test"}
    rows = [
        {
            "id": number, "label": LABELS.index(one.category), "category": one.category, "category-id": one.name,
            "url": one.url, "date": one.date, "title": one.title, "body": one.body,
        }
        for number, one in enumerate(one for some in splits.values() for one in some)
    ]  # fmt: skip
    lines = iter([json.dumps(row, ensure_ascii=False) + "\n" for row in rows])
    parts = {names[split]: "".join(islice(lines, len(some))) for split, some in splits.items()}
    files = {f"{name}.jsonl": text for name, text in {"all": "".join(parts.values()), **parts}.items()}
    files["label2id.json"] = json.dumps({label: n for n, label in enumerate(LABELS)}, indent=2)
    sizes = ", ".join(f"{names[split]} {len(some):,}" for split, some in splits.items())
    notes += [f"{DRAWN.format(seed=seed)}: {sizes}"]
    if bad:
        notes.append(f"{len(bad)} broken article{'s' * (len(bad) > 1)} left out, the first is {bad[0]}")
    return files, notes


# --- the archive --------------------------------------------------------------------------------------------------


def fetch(url: str = URL, names: str = NAMES) -> Path:
    """The archive in the cache folder, downloaded where it is not there yet; checked by the names of its articles."""
    try:
        return download(url, cache_folder() / "livedoor" / "ldcc-20140209.tar.gz", names, hash_of=names_hash)
    except DataError as error:
        raise DataError(
            f"{error}: get ldcc-20140209.tar.gz from {PAGE} yourself (licence {CARD.licence}) and give it to finetune, "
            "evaluate or check_data as --data-path FILE"
        ) from error


def names_hash(content: bytes) -> str:
    files, _ = sorted_files(Path(URL), io.BytesIO(content))
    return hash_of(in_bytes(name) for name, _ in files)


def hash_of(parts: Iterator[bytes]) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def in_bytes(name: str) -> bytes:
    """`<category>/<file>` of a name."""
    return "/".join(ending(name)).encode("utf-8", "surrogateescape")


def ending(name: str) -> tuple[str, str]:
    """Category and file, whatever folder they are in."""
    folder, _, file = name.rpartition("/")
    return folder.rpartition("/")[2], file


def sorted_files(path: Path, archive: BinaryIO | None = None) -> tuple[list[tuple[str, bytes]], Counter[str]]:
    """(name, content) of the articles, sorted by category and name, and how often which other file name is there.

    `archive` is an open one, for which `path` is only a name.
    """
    found, others = [], Counter[str]()
    try:
        for name, content in members(path, archive):
            category, file = ending(name)
            if category in LABELS and file.endswith(".txt") and file not in NOT_ARTICLES and not file.startswith("."):
                found.append((name, content))
            else:
                others[file] += 1
    except BROKEN as error:
        raise DataError(f"{path} cannot be read ({error}): it is no .tar.gz, or broken; get it again") from error
    return sorted(found, key=lambda file: (ending(file[0]), file[0])), others


LIVEDOOR = Reader(read_livedoor, LABELS, fetch, card=CARD, folder=True, draw=draw)
