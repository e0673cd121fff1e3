"""The quiz on a run's errors: what is asked, that nothing is told before, and who had more right."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tezukuri.data.dataset import Example
from tezukuri.eval.judge import judge
from tezukuri.eval.look.quiz import answer_lines, ask, quiz_of, score_lines, write_quiz
from tezukuri.eval.report import write_predictions
from tezukuri.eval.tasks.classify import Classify
from tezukuri.scripts import quiz as script
from tezukuri.scripts.command import main as command

LABELS = ("negative", "positive")


def run_with(folder: Path, rows: list[dict[str, Any]], split: str = "test") -> Path:
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / f"predictions-{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def row(n: int, label: str, predicted: str, p: float, **more: Any) -> dict[str, Any]:
    other = next(name for name in LABELS if name != predicted)
    shares = {name: {predicted: p, other: 1 - p}[name] for name in LABELS}
    return {"id": f"id-{n}", "text": f"文{n}", "label": label, "predicted": predicted, "probabilities": shares, **more}


def errors_and_hits(errors: int, hits: int) -> list[dict[str, Any]]:
    wrong = [row(n, "negative", "positive", 0.6 + n / 100) for n in range(errors)]
    return wrong + [row(100 + n, "positive", "positive", 0.99) for n in range(hits)]


def score(n: int, label: float, predicted: float) -> dict[str, Any]:
    return {"id": str(n), "text": f"文{n}", "pair": "猫", "label": label, "predicted": predicted}


def put(quiz: Any, typed: str) -> tuple[list[Any], str]:
    """The answers to some lines that are typed, and what stood on the screen."""
    screen: list[str] = []
    return ask(quiz, io.StringIO(typed).readline, screen.append), "".join(screen)


# --- what is asked ----------------------------------------------------------------------------------------------


def test_the_most_confident_errors_are_asked_in_an_order_of_the_seed(tmp_path: Path) -> None:
    run = run_with(tmp_path, errors_and_hits(errors=15, hits=30))
    quiz = quiz_of(run)
    assert {q.id for q in quiz.questions} == {f"id-{n}" for n in range(5, 15)}
    assert [q.id for q in quiz.questions] == [q.id for q in quiz_of(run).questions]
    assert [q.id for q in quiz.questions] != [q.id for q in quiz_of(run, seed=1).questions]
    (remark,) = quiz.remarks
    assert remark.startswith("the 10 most confident errors of the model, which is wrong on 15 of the 45 texts of test")


def test_few_errors_and_none_are_told(tmp_path: Path) -> None:
    quiz = quiz_of(run_with(tmp_path, errors_and_hits(errors=3, hits=3)))
    assert len(quiz.questions) == 3 and quiz.remarks[1] == "there are no more than 3"
    quiz = quiz_of(run_with(tmp_path, errors_and_hits(errors=0, hits=3)))
    assert quiz.questions == [] and "no text of test is wrong, of 3: there is nothing to guess" in quiz.remarks[0]
    assert len(quiz_of(tmp_path, mixed=True).questions) == 3


def test_mixed_is_half_errors_and_what_was_right_of_each_half_is_weighted(tmp_path: Path) -> None:
    quiz = quiz_of(run_with(tmp_path, errors_and_hits(errors=20, hits=60)), mixed=True)
    assert [sum(q.hit is hit for q in quiz.questions) for hit in (True, False)] == [5, 5]
    guesses = ["positive"] * 10  # wrong on every error, right on all else
    lines = list(score_lines(quiz, guesses))
    assert lines == [
        "you 5 of 10, the model 5 of 10",
        "in proportion to the whole split: you about 75%, the model 75.0%",
    ]


def test_each_question_has_its_own_choices(tmp_path: Path) -> None:
    shares = {"こま": 0.7, "鶴": 0.2}
    rows = [{"id": str(n), "text": "遊び道具は？", "label": "鶴", "predicted": "こま",
             "probabilities": {**shares, f"他{n}": 0.1}} for n in range(3)]  # fmt: skip
    quiz = quiz_of(run_with(tmp_path, rows))
    assert sorted(q.options for q in quiz.questions) == [("こま", "鶴", f"他{n}") for n in range(3)]


def test_a_label_that_the_model_lacks_can_be_guessed(tmp_path: Path) -> None:
    rows = [row(1, "neutral", "positive", 0.9), row(2, "positive", "negative", 0.6)]
    quiz = quiz_of(run_with(tmp_path, rows))
    assert quiz.questions[0].options == ("negative", "positive", "neutral")


def test_a_prediction_without_options_is_refused(tmp_path: Path) -> None:
    run_with(tmp_path, [{"id": "1", "text": "文", "label": "x", "predicted": "x"}])
    with pytest.raises(ValueError, match="has a prediction without probabilities, of 1: nothing can be chosen"):
        quiz_of(tmp_path)


def stretches(text: str, *places: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Of (start, end), or (start, end, kind)."""
    return [
        {"start": start, "end": end, **({"kind": kind[0]} if kind else {}), "text": text[start:end], "probability": 0.5}
        for start, end, *kind in places
    ]


PLACES = "東京都の人が京都に行く。"


@pytest.mark.parametrize(
    ("gold", "told", "kind"),
    [
        (["joy"], ["joy"], "no error"),
        (["joy", "fear"], ["joy"], "a label missed"),
        ([], ["joy"], "a label too many"),
        (["fear"], ["joy"], "both"),
        (stretches(PLACES, (0, 3, "地名")), stretches(PLACES, (0, 3, "地名")), "no error"),
        (stretches(PLACES, (0, 3, "地名"), (6, 8, "地名")), stretches(PLACES, (0, 3, "地名")), "an entity missed"),
        (stretches(PLACES, (0, 3, "地名")), stretches(PLACES, (0, 3, "人名")), "an entity of another kind"),
        (stretches(PLACES, (0, 3, "地名")), stretches(PLACES, (0, 2, "地名")), "an entity with other borders"),
        ([], stretches(PLACES, (4, 5, "人名")), "an entity invented"),
        (stretches(PLACES, (0, 3, "地名")), stretches(PLACES, (6, 8, "地名")), "several of these"),
        (stretches(PLACES, (0, 3), (0, 2)), stretches(PLACES, (0, 2)), "no error"),
        (stretches(PLACES, (0, 2)), stretches(PLACES, (0, 5)), "too long"),
        (stretches(PLACES, (0, 5)), stretches(PLACES, (1, 3)), "too short"),
        (stretches(PLACES, (0, 5)), stretches(PLACES, (3, 7)), "shifted"),
        (stretches(PLACES, (0, 2)), stretches(PLACES, (6, 8)), "elsewhere"),
        (stretches(PLACES, (0, 2)), [], "no answer"),
    ],
)
def test_of_spans_and_labels_the_kind_of_error_is_asked(tmp_path: Path, gold: Any, told: Any, kind: str) -> None:
    row = {"id": "1", "text": PLACES, "label": gold, "predicted": told, "probabilities": {"joy": 0.9, "fear": 0.2}}
    (question,) = quiz_of(run_with(tmp_path, [row]), mixed=True).questions
    assert question.gold == kind and question.options[-1] == "no error" and question.hit == (kind == "no error")
    asked = [(q.gold, "no error" in q.options) for q in quiz_of(tmp_path).questions]
    assert asked == ([] if kind == "no error" else [(kind, False)])


def test_the_answer_is_shown_before_the_guess_and_the_right_one_after_it(tmp_path: Path) -> None:
    rows = [{"id": f"id-{n}", "text": PLACES, "label": stretches(PLACES, (0, 3, "地名")),
             "predicted": stretches(PLACES, (0, 2, "地名"))} for n in range(2)]  # fmt: skip
    quiz = quiz_of(run_with(tmp_path, rows))
    answers, screen = put(quiz, "4\n1\n")
    assert "the model says: 東京 (地名)" in screen and "東京都 (地名)" not in screen
    lines = list(answer_lines(quiz, answers))
    mistake = "   an entity with other borders   right: 東京都 (地名)   model: 東京 (地名) (0.500)"
    assert f"{mistake}   you: an entity with other borders, right" in lines
    assert lines[-1] == "you 1 of 2, the model 0 of 2: these are its errors"
    questions, hidden = write_quiz(tmp_path, quiz).read_text(encoding="utf-8").split('<section id="answers" hidden')
    assert "東京 (地名)" in questions and "東京都 (地名)" not in questions and "東京都 (地名)" in hidden


def test_the_same_entity_missed_once_is_seen_in_the_answers(tmp_path: Path) -> None:
    gold = stretches("東京と東京", (0, 2, "地名"), (3, 5, "地名"))
    row = {"id": "1", "text": "東京と東京", "label": gold, "predicted": gold[:1]}
    (question,) = quiz_of(run_with(tmp_path, [row])).questions
    assert (question.truth, question.answer) == ("東京 (地名), 東京 (地名)", "東京 (地名)")


def test_a_folder_without_predictions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no predictions-<split>\.jsonl: give the folder of a finished run"):
        quiz_of(tmp_path)
    run_with(tmp_path, errors_and_hits(1, 1), "dev")
    assert quiz_of(tmp_path).name.endswith(", dev")
    with pytest.raises(ValueError, match="has no predictions of test, but of dev"):
        quiz_of(tmp_path, "test")


def test_votes_come_with_the_predictions(tmp_path: Path) -> None:
    examples = [Example("1", "文", "negative", "test", {"negative": 2, "positive": 1})]
    write_predictions(tmp_path, judge(Classify(LABELS), "test", examples, np.array([[0.0, 1.0]])))
    assert quiz_of(tmp_path).questions[0].votes == {"negative": 2, "positive": 1}


# --- the terminal -----------------------------------------------------------------------------------------------


def test_nothing_is_told_before_the_guesses(tmp_path: Path) -> None:
    rows = [row(n, "negative", "positive", 0.75, votes={"negative": 3}) for n in range(2)]
    quiz = quiz_of(run_with(tmp_path, rows))
    answers, screen = put(quiz, "x\n9\n２\n\n")
    assert answers == ["positive", None] and screen.count("  1  negative\n  2  positive\n") == 2
    assert "'x' is none of 1 to 2" in screen and "'9' is none of 1 to 2" in screen
    for hidden in ("0.75", "right", "votes", "id-"):
        assert hidden not in screen
    told = "\n".join(answer_lines(quiz, answers))
    assert "right: negative   model: positive (0.750)   you: positive, wrong\n   votes: negative 3" in told
    assert told.endswith("you 0 of 1, the model 0 of 1: these are its errors; 1 not answered")


def test_q_and_the_end_of_the_input_end_the_quiz(tmp_path: Path) -> None:
    quiz = quiz_of(run_with(tmp_path, errors_and_hits(errors=4, hits=0)))
    for typed in ("negative\nq\n", "1\nＱ\n", "1\n"):
        answers, _ = put(quiz, typed)
        assert answers == ["negative"]
    assert list(score_lines(quiz, [])) == ["you guessed none"]


def test_of_a_number_the_nearer_guess_wins(tmp_path: Path) -> None:
    quiz = quiz_of(run_with(tmp_path, [score(1, 4, 1), score(2, 0, 2.5), score(3, 1, 1)]))
    assert {q.id for q in quiz.questions} == {"1", "2"} and quiz.remarks[-1] == "scores go from 0 to 4"
    by_id = {"1": 5.0, "2": -3.0}
    lines = list(answer_lines(quiz, [by_id[q.id] for q in quiz.questions]))
    assert (
        "   right: 4   model: 1   you: 5, nearer" in lines and "   right: 0   model: 2.5   you: -3, not nearer" in lines
    )
    assert lines[-1] == "you were nearer on 1 of 2, the model on 1"
    answers, screen = put(quiz, "たくさん\nnan\n３．５\n")
    assert answers == [3.5] and "猫" in screen
    assert "'たくさん' is no number" in screen and "'nan' is no number" in screen


def test_numbers_that_only_order_pairs_are_asked_about_by_their_ranks(tmp_path: Path) -> None:
    rows = [score(n, label, label / 10 + 4) for n, label in enumerate([0.0, 1.0, 2.0, 3.0, 5.0])]
    rows[0]["predicted"], rows[4]["predicted"] = rows[1]["predicted"], 4.05  # of 3 ranks: equal ones, and the last
    run = run_with(tmp_path, rows)
    (run / "test-metrics.json").write_text('{"loss": 1, "pearson": 0.5, "spearman": 0.5}')
    quiz = quiz_of(run)
    assert {q.id: q.predicted for q in quiz.questions} == {"0": 1.5, "1": 1.5, "2": 3.0, "3": 5.0, "4": 0.0}
    assert "each of the model's answers counts as the score of the same rank" in quiz.remarks[2]
    (run / "test-metrics.json").write_text('{"loss": 1, "pearson": 0.5, "spearman": 0.5, "mae": 3}')
    assert {q.predicted for q in quiz_of(run).questions} == {4.05, 4.1, 4.2, 4.3}
    (tmp_path / "none").mkdir()
    run = run_with(tmp_path / "none", [row | {"label": None} for row in rows])
    with pytest.raises(ValueError, match="has learned from texts without labels, which no answer"):
        quiz_of(run)


# --- the page ---------------------------------------------------------------------------------------------------


def test_the_page_has_the_answers_in_a_hidden_section_alone(tmp_path: Path) -> None:
    rows = [row(n, "negative", "positive", 0.75, votes={"negative": 3}) for n in range(3)]
    rows[0] |= {"text": "<script>alert(1)</script>", "pair": "二つ目"}
    page = write_quiz(tmp_path, quiz_of(run_with(tmp_path, rows))).read_text(encoding="utf-8")
    questions, answers = page.split('<section id="answers" hidden')
    assert "&lt;script&gt;alert(1)" in questions and "<script>alert" not in page and "二つ目" in questions
    for hidden in ("gold", "0.750", "votes", "id-"):
        assert hidden not in questions.split("</style>")[1] and hidden in answers
    assert questions.count('type="radio"') == 6 and "checked" not in questions


def test_without_a_terminal_the_command_writes_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_with(tmp_path, errors_and_hits(errors=2, hits=1))
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert command(["quiz", str(run)]) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"page    {run / 'quiz.html'}") and (run / "quiz.html").is_file()
    options = {name for action in script.parser()._actions for name in action.option_strings}
    assert options - {"-h", "--help"} == {"--split", "--number", "--mixed", "--page", "--seed"}
