"""The sample reviews that ship with the package."""

import re
import unicodedata
from collections import Counter, defaultdict
from difflib import SequenceMatcher
from pathlib import Path

from tezukuri.data.dataset import Dataset
from tezukuri.data.load import SAMPLE, load


def test_the_sample_has_enough_of_each_label_in_each_split() -> None:
    corpus = load("sample")
    assert corpus.name == "sample" and corpus.labels == ("negative", "normal", "positive")
    assert corpus.bad_rows == [] and corpus.notes == []
    sizes = Counter(example.label for example in corpus.examples)
    assert sum(sizes.values()) >= 3000 and sizes["negative"] >= sum(sizes.values()) / 4
    assert len(corpus.split("test")) >= 450
    for split, share in (("train", 0.7), ("dev", 0.15), ("test", 0.15)):
        found = Counter(example.label for example in corpus.split(split))
        assert all(abs(found[label] - share * sizes[label]) <= 0.03 * sizes[label] for label in corpus.labels)


def test_the_table_in_the_readme_is_that_of_the_file() -> None:
    corpus = load("sample")
    found = Counter((example.label, example.split) for example in corpus.examples)
    readme = (SAMPLE.parent / "README.md").read_text(encoding="utf-8")
    for label in corpus.labels:
        row = [found[label, split] for split in ("train", "dev", "test")]
        assert f"| {label} | {' | '.join(map(str, [*row, sum(row)]))} |" in readme


def test_ids_are_numbered_and_lines_end_plainly() -> None:
    examples = load("sample").examples
    assert [example.id for example in examples] == [f"sample-{n:04}" for n in range(1, len(examples) + 1)]
    content = SAMPLE.read_bytes()
    assert b"\r" not in content and content.endswith(b"\n") and not content.startswith(b"\xef\xbb\xbf")


def test_three_judges_agree_with_the_label_and_not_always_with_each_other() -> None:
    examples, unanimous = load("sample").examples, 0
    for example in examples:
        assert example.votes is not None and sum(example.votes.values()) == 3
        assert example.votes[example.label] == max(example.votes.values())
        unanimous += len(example.votes) == 1
    assert 0.7 <= unanimous / len(examples) <= 0.85  # 0.75 in JRTE


def plain(corpus: Dataset) -> list[tuple[str, str]]:
    """(text without widths and punctuation, split) of every example."""
    return [(re.sub(r"\W", "", unicodedata.normalize("NFKC", e.text)) or e.text, e.split) for e in corpus.examples]


def test_no_two_reviews_are_alike() -> None:
    texts = plain(load("sample"))
    assert len({text for text, _ in texts}) == len(texts)
    matcher, having = SequenceMatcher(), defaultdict(set)
    for number, (b, split_b) in enumerate(texts):
        pairs = {b[i : i + 2] for i in range(len(b) - 1)} or {b}
        shared = Counter(other for pair in pairs for other in having[pair])
        matcher.set_seq2(b)  # what it keeps about b serves every a
        for other, count in shared.items():
            a, split_a = texts[other]
            limit = 0.85 if split_a == split_b else 0.7
            if count < 0.4 * min(len(a), len(b)) - 1:  # two texts as alike as that share more pairs of characters
                continue
            matcher.set_seq1(a)
            alike = matcher.real_quick_ratio() > limit and matcher.quick_ratio() > limit and matcher.ratio() > limit
            assert not alike, (a, b)
        for pair in pairs:
            having[pair].add(number)


def test_no_review_is_a_sentence_of_jrte(data_folder: Path) -> None:
    corpus = load("jrte", path=data_folder / "data" / "jrte" / "pn.tsv")
    assert not {text for text, _ in plain(corpus)} & {text for text, _ in plain(load("sample"))}


def test_lengths_are_those_of_short_reviews() -> None:
    lengths = sorted(len(example.text) for example in load("sample").examples)
    assert 13 <= lengths[len(lengths) // 2] <= 26 and lengths[0] <= 6 and lengths[-1] >= 50
