"""The data sets of pairs, choices, answers and entities: real files where they are at hand, and rows in their form."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tezukuri.data.dataset import DataError, Dataset, Example, Span
from tezukuri.data.jrte_rte import votes_of
from tezukuri.data.load import READERS, load
from tezukuri.data.rows import RowError


def sizes(data: Dataset) -> list[int]:
    counts = Counter(example.split for example in data.examples)
    return [counts[split] for split in ("train", "dev", "test")]


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


PAIR = {"sentence_pair_id": "0", "yjcaptions_id": "1-2-3", "sentence1": "犬がいる。", "sentence2": "動物がいる。"}


# --- pairs with a class -------------------------------------------------------------------------------------------


def test_jnli_without_its_train_is_what_is_there(data_folder: Path) -> None:
    data = load("jnli", path=data_folder / "data" / "jglue")  # where another data set has a train-v1.3.json
    assert data.labels == ("entailment", "contradiction", "neutral") and sizes(data) == [0, 2434, 2508]
    dev = Counter(example.label for example in data.split("dev"))
    assert dev == {"neutral": 1350, "contradiction": 735, "entailment": 349}
    second = data.examples[1]
    assert second.text == "キリンが、木の中から首を出しています。"
    assert second.pair is not None and second.pair.startswith("キリンが木々のあいだから顔")
    assert len(data.notes) == 1 and data.notes[0].startswith("train-v1.3.json is not in ")


def test_jnli_of_all_three_files(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        lines(tmp_path / "jnli-v1.3" / f"{split}-v1.3.json", PAIR | {"label": "entailment"})
    data = load("jnli", path=tmp_path)
    assert [e.id for e in data.examples] == ["train-0", "dev-0", "test-0"] and data.notes == []
    assert data.examples[0] == Example("train-0", "犬がいる。", "entailment", "train", pair="動物がいる。")
    assert data.task == "classify"


def test_the_file_of_another_data_set_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = lines(tmp_path / "valid-v1.3.json", *[PAIR | {"sentence_pair_id": str(n), "label": 4.2} for n in range(20)])
    with pytest.raises(DataError, match=r"valid-v1\.3\.json:1: label '4\.2' .* is not one of 'entailment'") as raised:
        load("jnli", path=path)
    assert "\n" not in str(raised.value) and str(raised.value).endswith("is it the file that you mean?")
    lines(path, PAIR | {"label": "neutral"})
    with pytest.raises(DataError, match=r"valid-v1\.3\.json:1: 'neutral' \(column 'label'\) is no number"):
        load("jsts", path=path)
    lines(path, PAIR | {"label": 1}, {**PAIR, "sentence_pair_id": "2"})
    with pytest.raises(DataError, match=r"valid-v1\.3\.json:2: no 'label'; the columns of this row are"):
        load("jsts", path=path)


def test_hotel_pairs_by_part(data_folder: Path) -> None:
    folder = data_folder / "data" / "jrte"
    base = load("jrte-rte", path=folder)
    assert sizes(base) == [19602, 5602, 2830] and base.labels == ("non-entailment", "entailment")
    surf = load("jrte-rte:part=surf", path=folder)
    assert len(surf.examples) == 9005
    votes = {"non-entailment": 0, "entailment": 5}
    assert surf.examples[0] == Example(
        "rte13q00001", "嬉しいお宿です。", "non-entailment", "test", votes, "いいお宿です。"
    )


def test_votes_of_hotel_pairs() -> None:
    assert votes_of('[{"0": 1, "1": 4}, {"0": 2}]') == {"non-entailment": 3, "entailment": 4}
    assert votes_of("null") is None
    for wrong in ("{", "[3]", '{"2": 1}', '{"0": -1}', '"x"'):
        with pytest.raises(RowError, match=r"the votes \(column 5\) are not JSON like"):
            votes_of(wrong)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("b\t1\t狭い。\t狭い。\tnull\ttrain", "6 tab-separated columns instead of 7"),
        ("b\t2\t狭い。\t狭い。\tnull\tnull\ttrain", "label '2' (column '2') is not one of '0', '1'"),
        ("b\t1\t\t狭い。\tnull\tnull\ttrain", "the hypothesis or the premise (columns 3 and 4) is empty"),
        ("b\t1\t狭い。\t狭い。\tnull\tnull\tvalid", "split 'valid' (column 7) is not one of"),
    ],
)
def test_a_bad_hotel_pair_is_named(tmp_path: Path, row: str, reason: str) -> None:
    path = tmp_path / "rte.lrec2020_surf.tsv"
    path.write_text(f"a\t1\t近い。\t駅に近い。\tnull\tnull\ttrain\n{row}\n", encoding="utf-8")
    with pytest.raises(DataError) as raised:
        load("jrte-rte", path=path)
    assert f"{path}:2: {reason}" in str(raised.value)


def test_jsick(tmp_path: Path) -> None:
    rows = [
        ["pair_ID", "data", "sentence_A_En", "sentence_A_Ja", "sentence_B_Ja", "entailment_label_Ja"],
        ["1", "train", "a", "犬がいる", "猫がいる", "neutral"],
        ["4", "trial", "a", "甲", "乙", "entailment"],
        ["6", "test", "a", "丙", "丁", "contradiction"],
        ["7", "dev", "a", "丙", "丁", "neutral"],
    ]
    path = tmp_path / "jsick.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    data = load("jsick", path=path, bad_rows="skip")
    assert data.examples[0] == Example("jsick-1", "犬がいる", "neutral", "train", pair="猫がいる")
    assert [(e.id, e.split) for e in data.examples[1:]] == [("jsick-4", "dev"), ("jsick-6", "test")]
    assert str(data.bad_rows[0]).startswith(f"{path}:5: split 'dev' (column 'data') is not one of")
    with pytest.raises(DataError, match=r"jsick is jsick/jsick\.tsv of https://github\.com/verypluming/JSICK"):
        READERS["jsick"].fetch()


# --- pairs with a number ------------------------------------------------------------------------------------------


def test_scores_are_numbers_and_their_files_whole(data_folder: Path) -> None:
    jsts = load("jsts", path=data_folder / "data" / "jglue" / "datasets" / "jsts-v1.3")
    assert jsts.task == "score" and sizes(jsts) == [12451, 1457, 1589]
    assert jsts.split("test")[0] == Example(
        "test-0", "草地の上で牛と男性が立っています。", 4.2, "test", pair="農場で白い牛が男性の隣に立っています。"
    )
    folder = data_folder / "data" / "stsb-multi-mt"
    for source, text in (("stsb", "飛行機が離陸します。"), ("stsb:language=en", "A plane is taking off.")):
        stsb = load(source, path=folder)
        assert stsb.task == "score" and sizes(stsb) == [5749, 1500, 1379]
        assert stsb.examples[0].text == text and stsb.examples[0].label == 5.0


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("犬,猫", "2 columns instead of 3"),
        ("犬,猫,良い", "'良い' (column '3') is no number"),
        ("犬,猫,5.1", "the score 5.1 is not from 0 to 5"),
        ('犬,"猫" と,1.0', "broken CSV"),
        ("犬,,1.0", "the text (column '2') is empty"),
    ],
)
def test_a_bad_row_of_stsb_is_named(tmp_path: Path, row: str, reason: str) -> None:
    path = tmp_path / "stsb-ja-dev.csv"
    path.write_text(f'"犬, そして猫",猫,2.75\n{row}\n', encoding="utf-8")
    with pytest.raises(DataError) as raised:
        load("stsb", path=path)
    assert f"{path}:2: {reason}" in str(raised.value)
    assert load("stsb", path=path, bad_rows="skip").examples == [
        Example("dev-1", "犬, そして猫", 2.75, "dev", pair="猫")
    ]  # fmt: skip


# --- choices ------------------------------------------------------------------------------------------------------


def test_five_answers_to_a_question(data_folder: Path) -> None:
    data = load("jcommonsenseqa", path=data_folder / "data" / "jglue")
    assert data.task == "choose" and sizes(data) == [8939, 1119, 1118]
    first = data.split("dev")[1]
    assert first == Example(
        "dev-8940", "田んぼが広がる風景を何という？", 2, "dev", choices=("畑", "海", "田園", "地方", "牧場")
    )
    assert all(example.choices and len(example.choices) == 5 for example in data.examples)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"label": 5}, "label 5 is not a number from 0 to 4"),
        ({"label": "2"}, "label '2' is not a number from 0 to 4"),
        ({"label": True}, "label True is not a number from 0 to 4"),
        ({"label": ...}, "label None is not a number from 0 to 4"),
        ({"choice3": ""}, "the text (column 'choice3') is empty"),
        ({"choice3": 3}, "the text (column 'choice3') is no string but 3"),
    ],
)
def test_a_bad_choice_is_named(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    good = {"q_id": 0, "question": "春は？", **{f"choice{n}": f"答え{n}" for n in range(5)}, "label": 3}
    bad = {name: value for name, value in (good | {"q_id": 1} | change).items() if value is not ...}
    path = lines(tmp_path / "valid-v1.3.json", good, bad)
    with pytest.raises(DataError) as raised:
        load("jcommonsenseqa", path=path)
    assert f"{path}:2: {reason}" in str(raised.value)


# --- answers in a context -----------------------------------------------------------------------------------------


def test_answers_stand_where_the_file_says(data_folder: Path) -> None:
    data = load("jsquad", path=data_folder / "data" / "jglue" / "datasets" / "jsquad-v1.3")
    assert data.task == "span" and sizes(data) == [0, 4442, 4420]
    first = data.split("dev")[0]
    assert (first.id, first.text) == ("a10336p0q0", "日本で梅雨がないのは北海道とどこか。")
    assert first.pair is not None and first.pair.startswith("梅雨 [SEP] 梅雨（つゆ、ばいう）は、")
    assert [first.pair[span.start : span.end] for span in first.label] == [
        "小笠原諸島",
        "小笠原諸島を除く日本",
        "小笠原諸島",
    ]
    assert sum(len(example.label) for example in data.examples) == 12853 + 12838


def squad(path: Path, **answer: Any) -> Path:
    def question(id_: str, **answer: Any) -> dict[str, Any]:
        return {"question": "何？", "id": id_, "answers": [answer], "is_impossible": False}

    asked = [question("q0", text="近い", answer_start=11), question("q1", **answer)]
    article = {"title": "宿", "paragraphs": [{"qas": asked, "context": "宿 [SEP] 駅まで近い。"}]}
    path.write_text('{"data": [\n' + json.dumps(article, ensure_ascii=False) + "\n]}", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"text": "近い", "answer_start": 3}, "the answer '近い' does not stand at character 3 of the context"),
        ({"text": "近い", "answer_start": -3}, "the answer '近い' does not stand at character -3"),
        ({"text": "", "answer_start": 3}, "the answer '' does not stand"),
        ({"text": "近い"}, "an answer has no text or no answer_start"),
    ],
)
def test_an_answer_that_is_not_in_the_context_is_named(tmp_path: Path, answer: dict[str, Any], reason: str) -> None:
    path = squad(tmp_path / "train-v1.3.json", **answer)
    with pytest.raises(DataError) as raised:
        load("jsquad", path=path)
    assert f"{path}:2: {reason}" in str(raised.value)
    (kept,) = load("jsquad", path=path, bad_rows="skip").examples
    assert kept == Example("q0", "何？", (Span(11, 13),), "train", pair="宿 [SEP] 駅まで近い。")


def test_a_foreign_or_cut_file_of_questions_is_refused(tmp_path: Path) -> None:
    path = squad(tmp_path / "train-v1.3.json", text="近い", answer_start=11)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(DataError, match=r"train-v1\.3\.json:2: broken JSON"):
        load("jsquad", path=path)
    path.write_bytes(whole.decode().encode("cp932"))
    with pytest.raises(DataError, match=r"train-v1\.3\.json:2: not UTF-8 \(byte 0x"):
        load("jsquad", path=path)
    path.write_text('{"data": [{"title": "宿"}]}', encoding="utf-8")
    with pytest.raises(DataError, match=r"train-v1\.3\.json:1: an article is not in the form of SQuAD"):
        load("jsquad", path=path)
    lines(path, PAIR | {"label": "neutral"})
    with pytest.raises(DataError, match=r"train-v1\.3\.json:1: no list data in it: is it the file that you mean\?"):
        load("jsquad", path=path)


# --- entities -------------------------------------------------------------------------------------------------------


def test_entities_and_their_splits_at_random(data_folder: Path, tmp_path: Path) -> None:
    path = data_folder / "data" / "ner-wikipedia" / "ner.json.gz"
    data = load("ner-wikipedia", path=path)
    assert data.task == "tag" and data.drawn and len(data.labels) == 8
    assert sizes(data) == [4275, 534, 534]
    kinds = Counter(span.kind for example in data.examples for span in example.label)
    assert kinds["人名"] == 2980 and kinds["イベント名"] == 1009 and kinds.total() == 13185
    first = data.examples[0]
    assert first.label == (Span(0, 7, "その他の組織名"),) and first.text[0:7] == "SPRiNGS"
    assert load("ner-wikipedia", path=path).examples == data.examples
    assert load("ner-wikipedia", path=path, seed=1).examples != data.examples
    (tmp_path / "anything.json").write_bytes(gzip.decompress(path.read_bytes()))
    assert load("ner-wikipedia", path=tmp_path / "anything.json").examples == data.examples


@pytest.mark.parametrize(
    ("entity", "reason"),
    [
        ({"name": "東京", "span": [0, 1], "type": "地名"}, "'東京' does not stand at 0 to 1 of the text"),
        ({"name": "東京", "span": [0, 2], "type": "場所"}, "type '場所' is not one of '人名'"),
        ({"name": "東京", "span": [0], "type": "地名"}, "an entity is not of the form name, span, type"),
        ("東京", "an entity is not of the form name, span, type"),
        ({"name": "京都", "span": [1, 3], "type": "地名"}, "two entities overlap: '京都' and '都に'"),
    ],
)
def test_a_bad_entity_is_named_by_its_line(tmp_path: Path, entity: Any, reason: str) -> None:
    good = {"curid": "1", "text": "東京都に住む", "entities": [{"name": "東京", "span": [0, 2], "type": "地名"}]}
    bad = {"curid": "1", "text": "東京都に住む", "entities": [{"name": "都に", "span": [2, 4], "type": "地名"}, entity]}
    path = tmp_path / "ner.json"
    rows = [json.dumps(row, ensure_ascii=False) for row in (good, bad)]
    path.write_text("[\n" + ",\n".join(rows) + "\n]", encoding="utf-8")
    with pytest.raises(DataError) as raised:
        load("ner-wikipedia", path=path)
    assert f"{path}:3: {reason}" in str(raised.value)
