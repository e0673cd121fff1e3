"""livedoor news: articles, splits, the tutorial's files, and archives that are refused."""

import gzip
import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tezukuri.data import archive as archives
from tezukuri.data.dataset import DataError
from tezukuri.data.livedoor import LABELS, fetch, names_hash
from tezukuri.data.load import load
from tezukuri.scripts.command import main as command

HEADER = "http://news.livedoor.com/article/detail/1/\n2011-09-07T19:35:00+0900\n"
ARTICLE = HEADER + "　ＡＢＣの題名　\n　①行目。\n\n　 \n２行目😀\u2028三行目\n"


def member(name: str, content: str | bytes = ARTICLE, kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info, raw = tarfile.TarInfo(name), content.encode() if isinstance(content, str) else content
    info.type, info.size = kind, len(raw) if kind == tarfile.REGTYPE else 0
    info.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    return info, raw


def archive(path: Path, members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def articles(number: int = 3) -> list[tuple[tarfile.TarInfo, bytes]]:
    """So many of each class, and the files beside them, in no order."""
    own = [member(f"text/{c}/{c}-{n}.txt", HEADER + f"題{n}\n本文{c}{n}\n") for n in range(number) for c in LABELS]
    return [member("text/README.txt"), *own[::-1], *(member(f"text/{c}/LICENSE.txt") for c in LABELS)]


def test_the_whole_corpus(data_folder: Path) -> None:
    data = load("livedoor", path=data_folder / "data" / "livedoor" / "ldcc-20140209.tar.gz")
    counts = Counter(e.split for e in data.examples)
    assert [counts[split] for split in ("train", "dev", "test")] == [5895, 736, 736], "the tutorial's sizes"
    assert Counter(e.label for e in data.examples)["livedoor-homme"] == 511 and data.labels == LABELS
    assert data.task == "classify" and data.drawn and not data.bad_rows
    assert data.notes[0] == "11 files are no articles: 'LICENSE.txt', 'CHANGES.txt', 'README.txt'"
    assert len(data.notes) == 2 and "not class by class (seed 0)" in data.notes[1]
    assert data.notes[1].endswith("; 3 texts of dev and test stand in train too")
    one = next(e for e in data.examples if e.id == "movie-enter-5844065")
    assert one.text.startswith("ハリウッド最強のタッグが贈る感動巨編『リアル・スティール』、") and one.pair is not None
    assert one.pair.startswith("スティーブン・スピルバーグ率いる") and "\n\n" not in one.pair


def test_title_and_body_are_normalised_as_the_tutorial_does(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar.gz", [member("text/smax/smax-9.txt", "\ufeff" + ARTICLE), *articles()])
    one, title, body = (
        next(e for e in load(name, path=path).examples if "題名" in e.content or "行目" in e.content)
        for name in ("livedoor", "livedoor:only=title", "livedoor:only=body")
    )
    assert (one.text, one.pair, one.label) == ("ABCの題名", "1行目。\n2行目😀\n三行目", "smax")
    assert (title.text, title.pair) == (one.text, None) and (body.text, body.pair) == (one.pair, None)


def test_splits_depend_on_the_seed_and_on_no_order_of_files(tmp_path: Path) -> None:
    packed = load("livedoor", path=archive(tmp_path / "a.tar.gz", articles()))
    assert [e.split for e in packed.examples] == ["train"] * 23 + ["dev"] * 2 + ["test"] * 2
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        tar.extractall(tmp_path / "folder", filter="data")
    for folder in (tmp_path / "folder", tmp_path / "folder" / "text"):
        assert load("livedoor", path=folder).examples == packed.examples
    (tmp_path / "folder" / "text" / "smax" / "smax-9.txt").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match=r"smax-9\.txt is a link that leads out of .*copy what it leads to"):
        load("livedoor", path=tmp_path / "folder")
    (tmp_path / "folder" / "text" / "smax" / "smax-9.txt").unlink()
    assert load("livedoor", path=tmp_path / "folder", seed=1).examples != packed.examples
    assert any("these 27 articles are not the 7,367 of the corpus" in note for note in packed.notes)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "1: the first line is no address"),
        ("題名\n本文\n", "1: the first line is no address"),
        ("http://x/\n題名\n本文\n", "2: the second line is no date"),
        (HEADER + "　\n本文\n", "3: the third line, the title, is empty"),
        (HEADER + "題名\n　\n", "4: there is no body"),
        (HEADER.encode() + "題名\n本文".encode("cp932"), "3: not UTF-8"),
    ],
)
def test_a_broken_article_is_named_by_its_member_and_line(tmp_path: Path, content: str | bytes, reason: str) -> None:
    path = archive(tmp_path / "a.tar.gz", [*articles(2), member("text/peachy/peachy-9.txt", content)])
    with pytest.raises(DataError) as raised:
        load("livedoor", path=path)
    assert f"{path}/text/peachy/peachy-9.txt:{reason}" in str(raised.value)
    data = load("livedoor", path=path, bad_rows="skip")
    assert len(data.examples) == 18 and len(data.bad_rows) == 1


def test_a_name_that_could_not_be_written_is_told(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar.gz", [*articles(2), member("text/smax/smax-\udc83.txt")])
    assert "the name of the file is not UTF-8" in str(load("livedoor", path=path, bad_rows="skip").bad_rows[0])


def test_what_is_twice_or_missing_is_told(tmp_path: Path) -> None:
    own = [one for one in articles() if "topic-news" not in one[0].name]
    more = [member("copy/smax/smax-1.txt"), member("text/peachy/peachy-1.txt"), member("text/games/games-1.txt")]
    data = load("livedoor", path=archive(tmp_path / "a.tar.gz", [*own, *more]), bad_rows="skip")
    peachy, smax = data.bad_rows
    assert "the id 'smax-1' is already that of copy/smax/smax-1.txt" in str(smax)
    assert "the id 'peachy-1' is already that of text/peachy/peachy-1.txt" in str(peachy), "the same member twice"
    assert "no articles of 'topic-news'" in data.notes and "'games-1.txt'" in data.notes[0]
    with pytest.raises(DataError, match=r"b\.tar\.gz has no articles <category>/\*\.txt of 'dokujo-tsushin'"):
        load("livedoor", path=archive(tmp_path / "b.tar.gz", [member("smax-1.txt")]))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([member("../../smax/smax-1.txt")], r"'\.\./\.\./smax/smax-1\.txt' leads out of its folder"),
        ([member("/etc/smax/smax-1.txt")], "'/etc/smax/smax-1.txt' leads out"),
        ([member("C:\\smax\\1.txt")], "leads out"),
        ([member("text\\..\\..\\1.txt")], "leads out"),
        ([member("text/smax/smax-1.txt", "", tarfile.SYMTYPE)], "'text/smax/smax-1.txt' is no file and no folder"),
        ([member("text/smax/smax-1.txt", "", tarfile.LNKTYPE)], "is no file and no folder"),
        ([member("text/smax/zero", "", tarfile.CHRTYPE)], "is no file and no folder"),
        ([member("text/smax/pipe", "", tarfile.FIFOTYPE)], "is no file and no folder"),
        ([member(f"text/{n}.txt", "") for n in range(12)], r"'text/11\.txt' is its member number 31, and at most 30"),
        ([member("text/smax/smax-1.txt", bytes(300_000))], r"'text/smax/smax-1\.txt' makes it larger than the 0 MB"),
        ([(tarfile.TarInfo("text/a.txt"), b"")], "made by a header"),
    ],
)
def test_an_archive_that_could_do_harm_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: list[tuple[tarfile.TarInfo, bytes]], reason: str
) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 30)
    monkeypatch.setattr(archives, "MOST_BYTES", 200_000)
    if reason == "made by a header":  # whose size is claimed, and read by tarfile itself
        members[0][0].pax_headers, reason = {"comment": "x" * 400_000}, "is followed by more than can be read"
    path = archive(tmp_path / "a.tar.gz", [*articles(1), *members])
    with pytest.raises(DataError, match=f"a.tar.gz is refused: .*{reason}") as raised:
        load("livedoor", path=path)
    assert "\n" not in str(raised.value) and sorted(tmp_path.iterdir()) == [path], "nothing is unpacked"


@pytest.mark.parametrize(
    "spoil",
    [lambda raw: raw[:-30], lambda raw: raw[:-8] + b"\0" * 8, lambda raw: b"<html>", lambda raw: gzip.compress(b"x")],
)
def test_a_cut_archive_is_refused(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = archive(tmp_path / "a.tar.gz", articles())
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=r"a\.tar\.gz cannot be read \(.+\): it is no \.tar\.gz, or broken"):
        load("livedoor", path=path)


def test_a_download_is_checked_by_the_names_of_its_articles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "a.tar.gz", articles())
    monkeypatch.setenv("TEZUKURI_CACHE", str(tmp_path / "cache"))
    again = archive(tmp_path / "b.tar.gz", articles()[::-1])  # other bytes, the same names
    file = fetch(path.as_uri(), names_hash(again.read_bytes()))
    assert file.read_bytes() == path.read_bytes()
    with pytest.raises(DataError, match=r"another file than expected.*get ldcc-20140209\.tar\.gz from https://www\.r"):
        fetch(path.as_uri())


# --- the tutorial's files -------------------------------------------------------------------------------------------


def rows_of(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def test_prepare_writes_the_files_of_the_tutorial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, folder = archive(tmp_path / "a.tar.gz", articles(4)), tmp_path / "new" / "livedoor"
    assert command(["prepare", "livedoor", "--output", str(folder), "--data-path", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "unsorted list that cannot be repeated: train 30, val 3, test 3" in printed
    names = ["all.jsonl", "label2id.json", "test.jsonl", "train.jsonl", "val.jsonl"]
    assert sorted(file.name for file in folder.iterdir()) == names and len(list(folder.parent.iterdir())) == 1
    rows = {name: rows_of(folder / f"{name}.jsonl") for name in ("all", "train", "val", "test")}
    assert rows["all"] == rows["train"] + rows["val"] + rows["test"]
    assert [row["id"] for row in rows["all"]] == list(range(36))
    keys = ["id", "label", "category", "category-id", "url", "date", "title", "body"]
    assert list(rows["all"][0]) == keys and rows["all"][0]["url"] == HEADER.split("\n")[0]
    label2id = json.loads((folder / "label2id.json").read_text())
    assert label2id == {label: number for number, label in enumerate(LABELS)}
    assert all(row["label"] == label2id[row["category"]] for row in rows["all"])
    # The same splits as --data livedoor.
    data = load("livedoor", path=path)
    for split, name in (("train", "train"), ("dev", "val"), ("test", "test")):
        assert [(e.id, e.text, e.pair) for e in data.split(split)] == [
            (row["category-id"], row["title"], row["body"]) for row in rows[name]
        ]


def test_prepare_writes_all_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = archive(tmp_path / "a.tar.gz", [*articles(2), member("text/smax/smax-8.txt", "")])
    asked = ["prepare", "livedoor", "--output", str(tmp_path / "out"), "--data-path", str(path)]
    assert command(asked) == 1 and "1 bad row in" in capsys.readouterr().err
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
        assert command([*asked, "--bad-rows", "skip"]) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.tar.gz"]
    assert command([*asked, "--bad-rows", "skip"]) == 0 and "1 broken article left out" in capsys.readouterr().out
    assert command(asked) == 1 and "out is there already: choose another --output" in capsys.readouterr().err
    assert command([*asked[:3], str(tmp_path / "new"), "--data-path", str(tmp_path / "none")]) == 1
    assert f"no such file or folder: {tmp_path / 'none'}" in capsys.readouterr().err
