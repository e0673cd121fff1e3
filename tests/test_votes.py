"""A classifier beside its judges: cases counted by hand, and the human line of JRTE."""

import pytest

from tezukuri.data.dataset import Dataset, Example
from tezukuri.data.load import load
from tezukuri.eval.failures.votes import Agreement, agreement

BY_HAND = [  # votes, label, prediction
    ({"good": 3}, "good", "good"),
    ({"good": 3, "bad": 0}, "good", "bad"),  # a mistake that no judge made
    ({"bad": 3}, "bad", "bad"),
    ({"good": 2, "bad": 1}, "good", "bad"),  # a mistake that one judge made
    ({"good": 1, "so-so": 2}, "so-so", "so-so"),
    ({"good": 1, "bad": 2}, "good", "bad"),  # a mistake that two judges made: the label is not the majority's
    ({"good": 1, "so-so": 1, "bad": 1}, "so-so", "good"),  # a mistake that one judge made, where no two agree
    ({"good": 2, "bad": 2}, "good", "so-so"),  # a mistake that no judge made; not three judges
    ({"good": 2}, "good", "good"),
    ({"good": 1}, "good", "bad"),  # one judge agrees with himself
    ({"good": 0}, "good", "bad"),
    ({}, "good", "good"),
    (None, "bad", "good"),
]


def test_a_case_counted_by_hand():
    """The human line: three texts of three equal votes count three times, three of two against one once; 9 of 12 agree.

    The model says what the two agree on in the six ways of the first and third text, and once on the fifth and sixth.
    """
    assert agreement(*zip(*BY_HAND, strict=True)) == Agreement(
        unanimous=3 / 4,
        unanimous_n=4,
        divided=1 / 5,
        divided_n=5,
        shared=3 / 5,
        mistakes=5,
        human=9 / 12,
        model=8 / 12,
        human_n=12,
        left_out=4,
    )


def test_the_human_line_is_that_of_leaving_each_judge_out():
    ways = []
    for votes, _, answer in BY_HAND:
        judges = [name for name, count in (votes or {}).items() for _ in range(count)]
        for i, one in enumerate(judges if len(judges) == 3 else []):
            first, second = judges[:i] + judges[i + 1 :]
            if first == second:
                ways.append((one == first, answer == first))
    human, model = zip(*ways, strict=True)
    found = agreement(*zip(*BY_HAND, strict=True))
    assert (found.human, found.model, found.human_n) == (sum(human) / len(ways), sum(model) / len(ways), len(ways))


def test_votes_tell_data_apart():
    """A run learns from them."""
    votes: list[dict[str, int] | None] = [None, {}, {"a": 2, "b": 1}, {"b": 1, "a": 2}, {"a": 1, "b": 2}]
    data = [Dataset("x", ("a", "b"), [Example("1", "文", "a", "train", votes=own)]) for own in votes]
    known = data[2].hashes
    assert [one.differs_from(known) for one in data] == [True, True, False, False, True]
    assert data[0].hashes == data[1].hashes == {"sha256": known["sha256"], "votes": ""}
    assert not data[4].differs_from({"sha256": known["sha256"]}), "older runs do not tell"


def test_texts_without_votes_are_counted_and_shares_of_nothing_are_none():
    found = agreement([None, {"a": 1}], ["a", "a"], ["a", "b"])
    assert found == Agreement(None, 0, None, 0, None, 0, None, None, 0, left_out=2)
    with pytest.raises(ValueError, match="shorter"):
        agreement([None, None], ["a", "a"], ["a"])


def test_a_label_that_only_the_model_knows_is_no_judges():
    found = agreement([{"a": 2, "b": 1}] * 2, ["a", "a"], ["mixed", "b"])
    assert (found.divided, found.shared, found.mistakes) == (0, 0.5, 2)


@pytest.mark.parametrize(
    ("split", "human", "ways"), [("train", 0.903, 9706), ("dev", 0.904, 2783), ("test", 0.909, 1399)]
)
def test_the_human_line_of_jrte(split, human, ways, data_folder):
    examples = load("jrte", path=data_folder / "data" / "jrte" / "pn.tsv").split(split)
    gold = [example.label for example in examples]
    found = agreement([example.votes for example in examples], gold, gold)
    assert (round(found.human, 3), found.human_n, found.left_out) == (human, ways, 0)
    assert found.model == found.unanimous == found.divided == 1  # the labels themselves: the majority's
    assert found.unanimous_n + found.divided_n == len(examples)
    assert (found.shared, found.mistakes) == (None, 0)
