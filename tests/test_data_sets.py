"""The data sets of one text: their real files where they are at hand, and rows in their documented form."""

import csv
import gzip
import hashlib
import io
import random
import shutil
import tarfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tezukuri.data import reader as reader_module
from tezukuri.data.dataset import DataError, Example
from tezukuri.data.download import git_hash
from tezukuri.data.load import READERS, load
from tezukuri.data.marc_ja import LISTS, REVIEWS, without_tags
from tezukuri.data.wrime import FEELINGS
from tezukuri.train.plan import Plan

FEELING_COLUMNS = [f"{who}_{what}" for who in ("Writer", "Reader1", "Reader2", "Reader3", "Avg. Readers")
                   for what in (*FEELINGS, "Sentiment")]  # fmt: skip
WRIME_COLUMNS = ["Sentence", "UserID", "Datetime", "Train/Dev/Test", *FEELING_COLUMNS]


def sizes(name: str, path: Path) -> list[int]:
    counts = Counter(example.split for example in load(name, path=path).examples)
    return [counts[split] for split in ("train", "dev", "test")]


def wrime_file(path: Path, *rows: dict[str, object]) -> Path:
    """Version 2 with some cells; all others are 0."""
    cells = [[str(row.get(column, 0)) for column in WRIME_COLUMNS] for row in rows]
    path.write_text("".join("\t".join(row) + "\n" for row in [WRIME_COLUMNS, *cells]), encoding="utf-8")
    return path


def sentiments(text: str, split: str, writer: int, *readers: int) -> dict[str, object]:
    told = dict(zip(("Reader1_Sentiment", "Reader2_Sentiment", "Reader3_Sentiment"), readers, strict=True))
    average = round(sum(readers) / 3)
    return {"Sentence": text, "Train/Dev/Test": split, "Writer_Sentiment": writer, **told,
            "Avg. Readers_Sentiment": average}  # fmt: skip


POSTS = [
    sentiments("車のタイヤがパンクしてた。。", "train", 0, -1, -1, -2),
    sentiments("やった！", "dev", -1, 2, 1, 0),
    sentiments("電車に乗った", "test", 2, 0, 0, 0),
]


# --- WRIME ----------------------------------------------------------------------------------------------------------


def test_wrime_by_its_readers_leaves_neutral_posts_out_and_says_how_many(tmp_path: Path) -> None:
    data = load("wrime", path=wrime_file(tmp_path / "wrime-ver2.tsv", *POSTS))
    assert data.labels == ("negative", "positive")
    assert data.examples == [
        Example("wrime-2", "車のタイヤがパンクしてた。。", "negative", "train", {"negative": 3}),
        Example("wrime-3", "やった！", "positive", "dev", {"positive": 2}),
    ]
    assert data.notes == ["1 row left out: sentiment 0"]


def test_wrime_with_neutral_posts_and_by_its_writer(tmp_path: Path) -> None:
    path = wrime_file(tmp_path / "posts.tsv", *POSTS)  # a single file may have any name
    kept = load("wrime:neutral=keep", path=path)
    assert kept.labels == ("negative", "neutral", "positive") and kept.notes == []
    assert [e.label for e in kept.examples] == ["negative", "positive", "neutral"]
    assert kept.examples[1].votes == {"neutral": 1, "positive": 2}
    by_writer = load("wrime:view=writer,neutral=keep", path=path)
    assert [e.label for e in by_writer.examples] == ["neutral", "negative", "positive"]
    assert all(e.votes is None for e in by_writer.examples)
    assert by_writer.name == "wrime:view=writer,neutral=keep"


def test_wrime_by_the_strongest_feeling(tmp_path: Path) -> None:
    def post(**cells: int) -> dict[str, object]:
        return {"Sentence": "文", "Train/Dev/Test": "train", **cells}

    path = wrime_file(
        tmp_path / "x.tsv",
        post(Reader1_Joy=3, Reader2_Joy=1, Reader3_Trust=3),  # joy 4, trust 3
        post(Reader1_Joy=1, Reader2_Fear=1),  # as strong as each other
        post(Writer_Anger=2),  # the writer alone
    )
    data = load("wrime:label=emotion", path=path)
    assert data.labels == ("joy", "sadness", "anticipation", "surprise", "anger", "fear", "disgust", "trust")
    assert [(e.label, e.votes) for e in data.examples] == [("joy", {"joy": 2, "trust": 1})]
    assert data.notes == ["2 rows left out: no feeling that is the strongest", "no dev split"]
    assert [e.label for e in load("wrime:label=emotion,view=writer", path=path).examples] == ["anger"]
    felt = load("wrime:label=emotions", path=path)
    assert felt.task == "multilabel" and felt.labels == data.labels
    assert [e.label for e in felt.examples] == [("joy", "trust"), (), ()], "a mean of the three of at least 1"
    assert load("wrime:label=emotions,view=writer", path=path).examples[2].label == ("anger",)


def test_the_feelings_of_version_1_which_has_no_sentiment(data_folder: Path) -> None:
    path = data_folder / "data" / "wrime" / "wrime-ver1-test.tsv"
    data = load("wrime:label=emotion", path=path)
    assert len(data.split("test")) == 1721 and data.notes == ["279 rows left out: no feeling that is the strongest"]
    assert data.examples[0] == Example("wrime-5", "あぁーテスト勉強()", "sadness", "test", {"sadness": 1})
    with pytest.raises(DataError, match=r"wrime-ver1-test\.tsv:1: no column 'Reader1_Sentiment'.*is it the file"):
        load("wrime", path=path)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"Train/Dev/Test": "valid"}, "split 'valid' (column 'Train/Dev/Test') is not one of"),
        ({"Reader2_Sentiment": "good"}, "'good' (column 'Reader2_Sentiment') is no number"),
        ({"Reader2_Sentiment": "1_0"}, "'1_0' (column 'Reader2_Sentiment') is no number"),
        ({"Reader2_Sentiment": "nan"}, "'nan' (column 'Reader2_Sentiment') is no number"),
        ({"Sentence": "  "}, "the text (column 'Sentence') is empty"),
    ],
)
def test_a_bad_row_of_wrime_is_named(tmp_path: Path, cells: dict[str, object], reason: str) -> None:
    path = wrime_file(tmp_path / "wrime-ver2.tsv", POSTS[0], POSTS[0] | cells)
    with pytest.raises(DataError) as raised:
        load("wrime", path=path)
    assert f"1 bad row in {path}" in str(raised.value) and f"{path}:3: {reason}" in str(raised.value)
    assert len(load("wrime", path=path, bad_rows="skip").examples) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("wrime:mood=good", r"wrime has no option 'mood'; it has 'label', 'view', 'neutral'"),
        ("wrime:view=cat", r"wrime:view is 'cat'; choose one of readers, writer"),
        ("wrime:view=writer,neutral=keep,view=readers", r"wrime is told view twice: leave one out"),
        ("wrime:view=writer,view=writer", r"wrime is told view twice: leave one out"),
        ("wrime:neutral", r"wrime:neutral is ''; choose one of drop, keep"),
        ("jcola:view=writer", r"jcola has no option 'view'; it has none"),
    ],
)
def test_an_option_that_a_data_set_has_not_is_refused(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(source, path=tmp_path)


def test_a_plan_keeps_the_options_and_finds_the_folder_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "copy").mkdir()
    wrime_file(tmp_path / "copy" / "wrime-ver2.tsv", *POSTS)
    plan = Plan(data="wrime:neutral=keep", data_path="copy").whole_paths()
    monkeypatch.chdir("/")
    assert plan.data == "wrime:neutral=keep" and len(plan.read_data().examples) == 3


# --- MARC-ja ----------------------------------------------------------------------------------------------------------


def review(id_: str, stars: int, body: str) -> list[str]:
    return ["JP", "1", id_, "B1", "1", "題名", "Music", str(stars), "0", "0", "N", "Y", "見出し", body, "2015-01-01"]


def reviews_file(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    header = [f"column{n}" for n in range(15)]
    header[2] = "review_id"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([header, *rows])
    return path


@pytest.fixture
def marc(tmp_path: Path) -> Path:
    """A folder with empty lists of ids, for reviews to be put beside."""
    for path, _ in LISTS.files.values():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("", encoding="utf-8")
    return tmp_path


def test_reviews_are_kept_shuffled_and_cut_as_the_authors_do(marc: Path) -> None:
    rows = [review(f"R{n}", 1 + n % 5, f"とても\t良い<br />です&amp;{n}") for n in range(500)]
    rows += [review("A", 5, "All of it is English."), review("L", 5, "長" * 501), review("K", 5, "長" * 500)]
    reviews_file(marc / REVIEWS, rows)
    order = [(f"R{n}", "positive" if n % 5 > 2 else "negative") for n in range(500) if n % 5 != 2]
    order.append(("K", "positive"))
    random.Random(1).shuffle(order)
    dev, test = (order[376:388], order[388:])  # of 401: 0.94 and 0.97
    listed = {"filter_review_id_list/valid.txt": f"{dev[3][0]}\n", "filter_review_id_list/test.txt": f"{test[0][0]}\n"}
    other = "negative" if dev[5][1] == "positive" else "positive"
    listed["label_conv_review_id_list/valid.txt"] = f"{dev[5][0]},{other}\n"
    for name, text in listed.items():
        (marc / "preprocess/marc-ja/data" / name).write_text(text, encoding="utf-8")

    data = load("marc-ja", path=marc)
    assert [(e.id, e.label) for e in data.split("train")] == order[:376]
    assert [(e.id, e.label) for e in data.split("dev")] == [*dev[:3], dev[4], (dev[5][0], other), *dev[6:]]
    assert [(e.id, e.label) for e in data.split("test")] == test[1:]
    assert {e.text for e in data.examples if e.id == "R0"} == {"とても\t良いです&0"}
    assert sorted(data.notes) == [
        "1 row left out: longer than 500 characters",
        "1 row left out: nine tenths of it are ASCII",
        "100 rows left out: 3 stars",
        "2 rows left out: its judges disagreed (lists of JGLUE)",
    ]


def test_reviews_in_another_order_than_the_lists_were_made_from_are_refused(marc: Path) -> None:
    path = reviews_file(marc / REVIEWS, [review(f"R{n}", 5, f"良い本{n}") for n in range(100)])
    order = [f"R{n}" for n in range(100)]
    random.Random(1).shuffle(order)
    (marc / LISTS.files["filter-dev"][0]).write_text(order[0] + "\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=rf"{path.name}: the review {order[0]} comes into train, but the lists of JGLUE"
    ):
        load("marc-ja", path=marc)


def test_bad_reviews_are_named_and_a_foreign_file_is_refused(marc: Path) -> None:
    path = reviews_file(marc / REVIEWS, [review("R1", 5, "良い"), review("R2", 7, "良い"), review("R3", 5, "良い")[:9]])
    with pytest.raises(DataError) as raised:
        load("marc-ja", path=marc)
    assert f"{path}:3: star_rating is '7' (column 8)" in str(raised.value)
    assert f"{path}:4: 9 columns" in str(raised.value)
    path.write_text("id\ttext\n1\t文\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"v1_00\.tsv:1: no column 'review_id', but 'id', 'text'"):
        load("marc-ja", path=marc)


def test_the_lists_are_those_of_the_paper(data_folder: Path) -> None:
    folder = data_folder / "data" / "jglue"
    lengths = {what: len((folder / path).read_text().splitlines()) for what, (path, _) in LISTS.files.items()}
    assert lengths == {"filter-dev": 331, "filter-test": 346, "label-dev": 245, "label-test": 231}
    for path, expected in LISTS.files.values():
        assert git_hash((folder / path).read_bytes()) == expected


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("良い<br />本<!-- x -->です&amp;&#12354; 1 < 2", "良い本です&あ 1 < 2"),
        ("良い<br /> \t<br>本\n <br/>\n", "良い 本\n \n"),
        ("&hearts;&copy &#150;&#x3042;", "♥© –あ"),
        ("&bogus;本 & (>_<) <3", "&bogus本 & (>_<) <3"),
        ("a<script>b</script>c<style>d</style>e", "ace"),
    ],
)
def test_tags_and_entities_are_resolved_as_beautiful_soup_does(markup: str, text: str) -> None:
    assert without_tags(markup) == text  # made with BeautifulSoup 4.15.0, html.parser


# --- JCoLA, commonsense morality, chABSA --------------------------------------------------------------------------


def test_the_real_files_have_their_published_sizes(data_folder: Path) -> None:
    folder = data_folder / "data"
    assert sizes("jcola", folder / "jcola") == [6919, 865, 685]
    assert sizes("commonsense-moral", folder / "commonsense-moral-ja" / "data") == [13975, 1996, 3992]


def test_known_rows_of_the_real_files(data_folder: Path) -> None:
    folder = data_folder / "data"
    dev = load("jcola", path=folder / "jcola" / "data" / "jcola-v1.0" / "in_domain_valid-v1.0.json")
    assert dev.examples[0] == Example("dev-2733", "ここは寒すぎている。", "unacceptable", "dev")
    assert Counter(e.label for e in dev.examples) == {"acceptable": 726, "unacceptable": 139}
    assert dev.notes == []
    morals = load("commonsense-moral", path=folder / "commonsense-moral-ja" / "data" / "data_val.csv")
    assert morals.examples[1] == Example("dev-1", "掃除当番をくじ引きで決めた", "permissible", "dev")


def test_chabsa_is_the_sentences_of_one_polarity(data_folder: Path) -> None:
    data = load("chabsa", path=data_folder / "data" / "chabsa" / "chABSA-dataset.zip")
    assert Counter(e.label for e in data.examples) == {"positive": 1397, "negative": 933}
    assert data.notes[:2] == [
        "2,976 rows left out: no opinion, or neutral ones only",
        "813 rows left out: positive and negative at once",
    ]
    assert data.drawn and "split at random" in data.notes[2]
    assert data.examples[0].id == "e00008-0" and data.examples[0].text.startswith("当連結会計年度におけるわが国経済は")


def test_what_macos_adds_to_an_archive_is_left_out(tmp_path: Path) -> None:
    sentence = '{"sentence_id": 0, "sentence": "増収となった", "opinions": [{"polarity": "positive"}]}'
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("__MACOSX/chABSA-dataset/._e1_ann.json", b"\0\5\x16\7")
        archive.writestr("chABSA-dataset/e1_ann.json", f'{{"sentences": [{sentence}]}}')
    assert [e.text for e in load("chabsa", path=tmp_path / "a.zip").examples] == ["増収となった"]


def test_chabsa_with_all_polarities_of_a_sentence(data_folder: Path) -> None:
    data = load("chabsa:label=polarities", path=data_folder / "data" / "chabsa" / "chABSA-dataset.zip")
    assert data.task == "multilabel" and data.labels == ("negative", "neutral", "positive")
    assert len(data.examples) == 6119 and sum(e.label == ("negative", "positive") for e in data.examples) > 700
    assert sum(not e.label for e in data.examples) > 2000


def test_a_bad_sentence_of_chabsa_is_named_by_its_line(tmp_path: Path) -> None:
    good = '{"sentence_id": 0, "sentence": "増収となった", "opinions": [{"polarity": "positive"}]}'
    bad = good.replace("0", "1").replace("positive", "glad")
    path = tmp_path / "e1_ann.json"
    path.write_text(f'{{"header": {{}},\n"sentences": [\n{good},\n{bad}\n]}}', encoding="utf-8")
    with pytest.raises(DataError, match=r"e1_ann\.json:4: a polarity is not one of 'negative', 'neutral', 'positive'"):
        load("chabsa", path=tmp_path)
    listed = good.replace('"positive"', '["positive"]')
    path.write_text(f'{{"sentences": [\n{listed}]}}', encoding="utf-8")
    with pytest.raises(DataError, match=r"e1_ann\.json:2: a polarity is not one of"):
        load("chabsa", path=tmp_path)
    path.write_text(f'{{"sentences": [\n{good},\n{bad[:40]}', encoding="utf-8")
    with pytest.raises(DataError, match=r"e1_ann\.json:3: broken JSON"):
        load("chabsa", path=tmp_path)
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match=r"e1_ann\.json:1: no list sentences in it: is it the file that you mean\?"):
        load("chabsa", path=tmp_path)
    with pytest.raises(DataError, match=r"no file \*_ann\.json"):
        load("chabsa", path=shutil.copy(path, tmp_path / "other.json"))


# --- folders, archives and files that are not what they should be -------------------------------------------------

JCOLA_LINE = '{"uid": 1, "source": "x", "label": 1, "diacritic": "g", "sentence": "太郎が走る。", "original": "…"}\n'
TRAIN = "in_domain_train-v1.0.json"


def test_a_folder_a_zip_a_tar_and_gz_files_are_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "JCoLA-main" / "data" / "jcola-v1.0"
    folder.mkdir(parents=True)
    (folder / TRAIN).write_text(JCOLA_LINE, encoding="utf-8")
    (folder / "in_domain_valid-v1.0.json.gz").write_bytes(gzip.compress(JCOLA_LINE.encode()))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "JCoLA-main", "JCoLA-main")
        for file in folder.iterdir():
            archive.write(file, file.relative_to(tmp_path))
    expected = load("jcola", path=tmp_path / "JCoLA-main").examples
    assert [(e.id, e.split) for e in expected] == [("train-1", "train"), ("dev-1", "dev")]
    for path in (folder, tmp_path / "a.zip", tmp_path / "a.tar.gz"):
        assert load("jcola", path=path).examples == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", rf"{TRAIN} is empty: get it again"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", rf"{TRAIN} is a pointer of git-lfs"),
        ('{"q_id": 0, "question": "何？", "label": 2}\n', rf"{TRAIN}:1: no column 'uid', 'sentence'; its columns are"),
        (JCOLA_LINE + JCOLA_LINE[:30], rf"{TRAIN}:2: broken JSON"),
        (JCOLA_LINE + JCOLA_LINE.replace('"uid": 1', '"uid": 2').replace('"label": 1', '"label": 3'),
         rf"{TRAIN}:2: label '3' \(column 'label'\) is not one of '0', '1'"),
        (JCOLA_LINE + JCOLA_LINE, rf"{TRAIN}:2: the id 'train-1' is already that of line 1"),
        (JCOLA_LINE.encode("cp932", "replace"), rf"{TRAIN}:1: not UTF-8"),
    ],
)  # fmt: skip
def test_a_broken_or_foreign_file_is_named_with_its_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    (tmp_path / TRAIN).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        load("jcola", path=tmp_path)


def test_a_file_without_a_good_row_is_refused_in_one_sentence_whatever_is_skipped(tmp_path: Path) -> None:
    (tmp_path / TRAIN).write_text(JCOLA_LINE.replace('"label": 1', '"label": "x"') * 20, encoding="utf-8")
    with pytest.raises(DataError, match=rf"{TRAIN}:1: label 'x'.*\(and none of its rows can be read\)") as raised:
        load("jcola", path=tmp_path, bad_rows="skip")
    assert "\n" not in str(raised.value)


def test_a_cut_archive_is_said(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr(TRAIN, JCOLA_LINE * 100)
    (tmp_path / "a.zip").write_bytes(whole.getvalue()[:300])
    (tmp_path / f"{TRAIN}.gz").write_bytes(gzip.compress(random.Random(0).randbytes(999))[:400])
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(random.Random(0).randbytes(999))[:400])
    for name in ("a.zip", f"{TRAIN}.gz", "a.tar.gz"):
        with pytest.raises(DataError, match=rf"{name} cannot be read \(.*\): it is cut or broken, get it again"):
            load("jcola", path=tmp_path / name)


def test_a_folder_with_one_file_alone_tells_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / TRAIN).write_text(JCOLA_LINE, encoding="utf-8")
    assert f"in_domain_valid-v1.0.json is not in {tmp_path}: no dev" in load("jcola", path=tmp_path).notes
    assert "is not in" not in " ".join(load("jcola", path=tmp_path / TRAIN).notes)  # it was given alone


def test_jrte_is_found_in_a_folder_and_unpacked(tmp_path: Path) -> None:
    rows = b'pn1\t1\t\xe9\xa7\x85\t{"1": 3}\ttrain\n'
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pn.tsv").write_bytes(rows)
    (tmp_path / "pn.tsv.gz").write_bytes(gzip.compress(rows))
    for path in (tmp_path / "data", tmp_path / "pn.tsv.gz"):
        assert [e.label for e in load("jrte", path=path).examples] == ["positive"]


def test_a_folder_without_the_files_names_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"has none of the files of this data set, {TRAIN}, in_domain_valid"):
        load("jcola", path=tmp_path)
    (tmp_path / "x.tsv").write_text("x")
    with pytest.raises(DataError, match=rf"x\.tsv is none of the files of this data set, {TRAIN}"):
        load("jcola", path=tmp_path / "x.tsv")
    with pytest.raises(DataError, match="no such data"):
        load("jcola", path=tmp_path / "nothing")


# --- downloads ------------------------------------------------------------------------------------------------------


def test_files_are_fetched_from_a_pinned_commit_and_checked_by_gits_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEZUKURI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(reader_module, "RAW", (tmp_path / "web").as_uri())
    path, expected = "wrime-ver2.tsv", "d2e6080cea7e6a8c76148716c12521a276671a77"
    served = tmp_path / "web" / "ids-cv" / "wrime" / "1ae1122d19545ef5a26a0e1a5bc490faeb96b0ea" / path
    served.parent.mkdir(parents=True)
    wrime_file(served, *POSTS)
    with pytest.raises(DataError, match=rf"another file than expected \(git's hash \w+, not {expected}\)") as raised:
        load("wrime")
    assert f"get {path} from https://github.com/ids-cv/wrime yourself (licence CC BY-NC-ND 4.0)" in str(raised.value)
    monkeypatch.setattr(reader_module, "git_hash", lambda content: expected)
    assert len(load("wrime").examples) == 2
    served.unlink()
    assert len(load("wrime").examples) == 2  # from the cache


def test_gits_hash_is_that_of_git() -> None:
    assert git_hash(b"test content\n") == "d670460b4b4aece5915caf5c68d12f560a9fe3e4"  # Pro Git, 10.2
    assert hashlib.sha1(b"blob 0\0").hexdigest() == git_hash(b"")


@pytest.mark.parametrize("name", ["chabsa", "marc-ja"])
def test_what_has_no_address_says_what_to_get(name: str) -> None:
    with pytest.raises(DataError, match=r"--data-path FILE"):
        READERS[name].fetch()
