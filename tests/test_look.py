"""Data at a look: what the survey counts, what the page shows, and the command with files of every kind."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoint import TOKENIZER

from tezukuri.data.dataset import Dataset, Example, Span
from tezukuri.eval.look import pictures
from tezukuri.eval.look.page import content, environment, summary, write_look
from tezukuri.eval.look.survey import agreement, fence_of, survey
from tezukuri.eval.tasks.similarity import Similarity
from tezukuri.scripts import check_data, look
from tezukuri.scripts.command import main as command
from tezukuri.scripts.options import add_data_options

HOSTILE = "<script>window.hacked=1</script>\n$\\frac$\x1b[31m駅"


def surveyed(*examples: Example, labels: tuple[str, ...] = ()):
    return survey(Dataset("mine", labels, list(examples)), TOKENIZER, "tiny", room=64)


def page_of(found, folder: Path) -> str:
    return write_look(folder, found).read_text(encoding="utf-8")


# --- lengths ----------------------------------------------------------------------------------------------------


def test_lengths_are_those_of_the_sequences_that_the_model_gets() -> None:
    single = Example("1", "駅から近い。", "a", "train")
    pair = Example("2", "駅から近い。", "a", "train", pair="部屋が狭い。")
    chosen = Example("3", "駅から", 1, "train", choices=("近い", "とても便利でした。"))
    found = surveyed(single, pair, chosen)
    assert found.lengths["train"].tolist() == [
        len(TOKENIZER.encode(single.text)),
        len(TOKENIZER.encode(pair.text, pair.pair)),
        len(TOKENIZER.encode(chosen.text, "とても便利でした。")),
    ]
    apart = survey(Dataset("mine", (), [single, pair]), TOKENIZER, "tiny", room=64, separate=Similarity.separate)
    assert apart.lengths["train"].tolist() == [len(TOKENIZER.encode(text)) for text in (single.text, pair.pair)]
    page, pictures_of = environment().get_template("look.html"), dict.fromkeys(("lengths", "cuts", "labels"), "")
    told = [page.render(content(some), pictures=pictures_of) for some in (surveyed(pair), apart)]
    assert ["of a pair both together" in text for text in told] == [True, False]


def test_what_a_limit_cuts_is_a_share_of_texts_and_of_tokens() -> None:
    examples = [Example(str(n), "駅" * n, "a", split) for n, split in ((2, "train"), (8, "train"), (3, "dev"))]
    found = surveyed(*examples)
    lengths = found.lengths["train"]
    assert found.cut(int(lengths[0])) == {
        "train": (0.5, pytest.approx((lengths[1] - lengths[0]) / lengths.sum())),
        "dev": (1.0, pytest.approx(1 / found.lengths["dev"][0])),
    }
    assert found.limits(7) == [7, 16]  # 16 cuts nothing, so no longer limit is worth a row


def test_a_text_far_from_all_others_is_an_outlier_and_equal_lengths_are_none() -> None:
    usual = [Example(str(n), "駅から近い。", "a", "train") for n in range(20)]
    found = surveyed(*usual, Example("long", "部屋が狭くて最悪でした。" * 3, "a", "dev"))
    assert [(e.id, length) for e, length in found.outliers] == [("long", found.lengths["dev"][0])]
    assert surveyed(*usual).outliers == [] and surveyed(usual[0]).outliers == []
    short = [Example(f"short {n}", "駅", "a", "train") for n in range(3)]
    marks, *_ = pictures.lengths(surveyed(*usual, *usual, *short)).axes[0].lines
    assert len(marks.get_xdata()) == 1 and marks.get_label() == "outliers: 3"  # equal ones are drawn once
    assert fence_of(np.array([10, 20, 30, 40, 50])) == (20 - 60, 40 + 60)


# --- labels, unknown tokens, votes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "more", "order", "values"),
    [
        ("good", {}, ("bad", "good"), ["good"]),
        (("bad", "good"), {}, ("bad", "good"), ["bad", "good"]),
        ((Span(0, 1, "地名"),), {}, ("bad", "good", "地名"), ["地名"]),
        (1, {"choices": ("駅", "部屋")}, ("0", "1"), ["1"]),
        (2.5, {}, (), [2.5]),
        ((Span(0, 2), Span(1, 3)), {"pair": "駅から"}, (), [2, 2]),
    ],
)
def test_labels_of_every_task_are_counted(label, more, order, values) -> None:
    found = surveyed(Example("1", "駅", label, "train", **more), labels=("bad", "good"))
    assert found.labels is not None
    assert found.labels.order == order and found.labels.values == {"train": values}


def test_texts_that_gave_unknown_tokens_are_counted_as_often_as_they_stand() -> None:
    found = surveyed(
        Example("1", "駅😀", "a", "train"), Example("2", "駅😀", "a", "dev", pair="駅"), Example("3", "駅", "a", "dev")
    )
    assert dict(found.unknown_texts) == {"😀": 2}
    assert [tuple(found.unknown[split]) for split in ("train", "dev")] == [(2, 1, 1), (4, 1, 1)]


def test_agreement_is_that_of_fleiss() -> None:
    # Fleiss 1971 by hand: P = (1 + 1/3) / 2, the labels have the shares 5/6 and 1/6.
    votes = [{"a": 3}, {"a": 2, "b": 1}, {"a": 1}]
    found = agreement([Example(str(n), "駅", "a", "train", own) for n, own in enumerate(votes)])
    assert found is not None and (found.n, found.unanimous, found.outvoted) == (2, 0.5, 0)
    lots = (5 / 6) ** 2 + (1 / 6) ** 2
    assert found.kappa == pytest.approx((2 / 3 - lots) / (1 - lots))
    assert agreement([Example("1", "駅", "a", "train")]) is None
    unanimous = agreement([Example("1", "駅", "b", "train", {"a": 2, "b": 0})])
    assert unanimous is not None and unanimous.kappa is None and (unanimous.outvoted, unanimous.tied) == (1, 0)
    even = agreement([Example("1", "駅", "a", "train", {"a": 2, "b": 2}), Example("2", "駅", "a", "train", {"a": 2})])
    assert even is not None and (even.outvoted, even.tied) == (0, 1)


# --- the page ---------------------------------------------------------------------------------------------------


def test_the_page_escapes_texts_and_marks_what_the_label_is_about(tmp_path: Path) -> None:
    found = surveyed(
        Example(HOSTILE, HOSTILE, (Span(0, 8, "<b>kind"),), "train"),
        Example("2", "駅から", (Span(0, 1, "<b>kind"),), "dev"),
    )
    page = page_of(found, tmp_path)
    assert "<script" not in page and "<b>" not in page and page.count('<figure role="img" aria-label="') == 3
    assert "<mark>&lt;script&gt;<small>&lt;b&gt;kind</small></mark>window" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cuts.png", "labels.png", "lengths.png", "look.html"]
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"|Content-Security|http-equiv', "", page)  # no network


def test_the_right_choice_and_both_texts_of_a_pair_are_shown(tmp_path: Path) -> None:
    found = surveyed(Example("1", "駅は？", 1, "train", choices=("遠い", "近い")))
    page = page_of(found, tmp_path)
    assert '<li class="gold">近い ✓</li>' in page and "<li>遠い</li>" in page
    parts = content(surveyed(Example("1", "駅", (Span(0, 2),), "train", pair="近い駅")))["examples"][0]["parts"]
    assert parts == {"text": [("駅", None)], "pair": [("近い", ""), ("駅", None)], "choices": []}


def test_a_long_text_is_cut_where_it_is_shown_and_that_is_told(tmp_path: Path) -> None:
    page = page_of(surveyed(Example("1", "駅" * 5000, "a", "train")), tmp_path)
    assert "… (5,000 characters)" in page and "駅" * 1001 not in page


def test_examples_are_drawn_by_the_seed() -> None:
    data = Dataset("mine", ("a",), [Example(str(n), "駅", "a", "train") for n in range(40)])
    drawn = [survey(data, TOKENIZER, "tiny", seed=seed).examples for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and len(drawn[0]) == 10


# --- the command ------------------------------------------------------------------------------------------------


def test_the_flags_are_those_of_data_and_these() -> None:
    options = {name for action in look.parser()._actions for name in action.option_strings}
    of_data = check_data.parser()
    add_data_options(only := look.parser_of("data", ""))
    expected = {name for action in only._actions for name in action.option_strings}
    assert options - expected == {"--task", "--model", "--revision", "--max-length", "--seed", "--output-dir"}
    assert expected < {name for action in of_data._actions for name in action.option_strings}


def test_the_command_writes_a_page_and_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "reviews.jsonl"
    rows = [{"text": f"駅から{n}分。😀", "label": n % 2, "votes": {"0": 2, "1": n % 3}} for n in range(30)]
    rows += [{"text": "", "label": 1}, {"text": HOSTILE, "label": 1}]
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    arguments = ["look", str(file), "--model", "mini", "--max-length", "4", "--output-dir", str(tmp_path)]
    assert command(arguments) == 0
    told = capsys.readouterr().out
    assert "1 bad row left out, listed on the page; the first: " in told and "\x1b" not in told
    assert re.search(r"^unknown .*😀 30", told, re.MULTILINE) and "votes    30 texts" in told
    assert "cut      --max-length 4    cuts 100.0% of train, 100.0% of dev, 100.0% of test" in told
    (page,) = (tmp_path / "look" / "reviews.jsonl").glob("*/*/look.html")
    text = page.read_text(encoding="utf-8")
    assert told.rstrip().endswith(f"page    {page}") and f"{file}:31" in text and "4 (asked)" in text


@pytest.mark.parametrize(
    ("header", "row", "options", "said"),
    [
        ("text", "駅", ["--label-column", "none"], "labels  none"),
        ("text,label", "駅,2.5", ["--task", "score"], "scores in train: 2.5 to 2.5"),
        ("text,label", "駅,joy|trust", ["--task", "multilabel"], "trust"),
        (
            "text,entities",
            '駅,"[[0, 1, ""a""]]"',
            ["--task", "tag"],
            "windows  --max-length 16   reads in windows 0.0%",
        ),
    ],
)
def test_one_text_of_any_task_is_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], header: str, row: str, options: list[str], said: str
) -> None:
    file = tmp_path / "one.csv"
    file.write_text(f"{header}\n{row}\n", encoding="utf-8")
    assert command(["look", str(file), "--model", "mini", "--output-dir", str(tmp_path), *options]) == 0
    told = capsys.readouterr().out
    assert said in told and "no dev split" in told and "no test split" in told


def test_data_are_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["look", "sample", "--data", "jrte"]) == 1
    assert "the data are given twice, as sample and as jrte" in capsys.readouterr().err


def test_a_split_that_is_not_there_is_told_once() -> None:
    data = Dataset("mine", ("a",), [Example("1", "駅", "a", "test")], notes=["x.json is not in y: no train"])
    told = [line for line in summary(survey(data, TOKENIZER, "tiny")) if "no train" in line]
    assert told == ["data    x.json is not in y: no train"]
    assert "data    no dev split" in list(summary(survey(replace(data, notes=[]), TOKENIZER, "tiny")))
