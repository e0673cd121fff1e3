"""Label suspects: confident learning against a case worked by hand, and against errors that were planted."""

from collections import Counter

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tezukuri.eval.failures.suspects import (
    Suspect,
    competence,
    confident_classes,
    out_of_sample,
    suspects,
    unanimous,
)

# Thirteen texts. The thresholds are the means of the own column: .63 of five, .5 of four, .4 of four.
BY_HAND = [
    (0, (0.90, 0.05, 0.05), 0),
    (0, (0.80, 0.10, 0.10), 0),
    (0, (0.30, 0.65, 0.05), 1),
    (0, (0.60, 0.35, 0.05), -1),  # the most probable class, but less than is usual for it
    (0, (0.55, 0.05, 0.40), 2),  # class 2 is the less probable one, but as much as is usual for it
    (1, (0.10, 0.80, 0.10), 1),
    (1, (0.20, 0.50, 0.30), 1),  # just the threshold
    (1, (0.65, 0.20, 0.15), 0),
    (1, (0.05, 0.50, 0.45), 1),  # classes 1 and 2: the more probable counts
    (2, (0.15, 0.25, 0.60), 2),
    (2, (0.25, 0.50, 0.25), 1),
    (2, (0.40, 0.30, 0.30), -1),
    (2, (0.45, 0.10, 0.45), 2),
]
GIVEN = np.array([given for given, _, _ in BY_HAND])
PROBABILITIES = np.array([row for _, row, _ in BY_HAND])


def blobs(sizes=(200, 200, 200), seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Classes that lines can part: (n, 12) vectors and (n,) labels, shuffled."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return random.normal(size=(len(labels), 12)) + 5 * np.eye(12)[labels], labels


def test_the_confident_joint_of_a_case_worked_by_hand():
    counted = confident_classes(PROBABILITIES, GIVEN)
    assert counted.tolist() == [expected for _, _, expected in BY_HAND]
    joint = Counter((int(i), int(j)) for i, j in zip(GIVEN, counted, strict=True) if j >= 0)
    assert joint == {(0, 0): 2, (0, 1): 1, (0, 2): 1, (1, 1): 3, (1, 0): 1, (2, 2): 2, (2, 1): 1}


def test_suspects_are_what_is_off_its_diagonal_by_margin():
    found = suspects(PROBABILITIES, GIVEN)
    assert found == [
        Suspect(7, given=1, suggested=0, self_confidence=0.20, suggested_confidence=0.65),
        Suspect(2, given=0, suggested=1, self_confidence=0.30, suggested_confidence=0.65),
        Suspect(10, given=2, suggested=1, self_confidence=0.25, suggested_confidence=0.50),
        Suspect(4, given=0, suggested=2, self_confidence=0.55, suggested_confidence=0.40),
    ]
    assert [suspect.margin for suspect in found] == pytest.approx([0.45, 0.35, 0.25, -0.15])


def test_a_class_below_its_threshold_does_not_count_though_it_is_the_most_probable():
    """Of the two classes that reach theirs the more probable counts (equation 1); cleanlab would say class 0 here."""
    given = np.array([0, 0, 1, 2, 3])
    rows = [(0.9, 0, 0, 0.1), (0.9, 0, 0, 0.1), (0.5, 0.3, 0.2, 0), (0.7, 0.1, 0.2, 0), (0.38, 0.33, 0.29, 0)]
    assert confident_classes(np.array(rows), given)[-1] == 1


def test_a_mean_that_is_rounded_up_keeps_no_text_out():
    given = np.array([0, 0, 0, 1])
    probabilities = np.array([[0.1, 0.9]] * 3 + [[0.05, 0.95]])
    assert probabilities[:3, 0].mean() > 0.1
    assert confident_classes(probabilities, given).tolist() == [0, 0, 0, 1]


def test_a_class_that_no_text_is_labelled_with_is_suggested_to_none():
    assert suspects(np.array([[0.6, 0.0, 0.4], [0.1, 0.8, 0.1]]), np.array([0, 2])) == []
    assert suspects(np.zeros((0, 3)), np.zeros(0, dtype=int)) == []


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_errors_are_found(seed):
    """Most, not all: by the rule, a class must be as probable for a text as it is for an average text of that class."""
    vectors, true = blobs((500, 500, 500), seed)
    random = np.random.default_rng(100 + seed)
    wrong = random.choice(len(true), 75, replace=False)  # 5 %
    labels = true.copy()
    labels[wrong] = (true[wrong] + random.integers(1, 3, 75)) % 3
    found = suspects(out_of_sample(vectors, labels), labels)
    planted = [suspect for suspect in found if suspect.index in wrong]
    assert len(planted) >= 0.7 * 75  # recall
    assert len(planted) >= 0.95 * len(found)  # precision
    assert all(suspect.index in wrong for suspect in found[:40])  # the worst first
    assert all(suspect.suggested == true[suspect.index] for suspect in planted)


def test_nobody_judges_a_text_that_it_learned_from():
    """Labels that nothing tells: who has seen them would know better than chance."""
    random = np.random.default_rng(0)
    vectors, labels = random.normal(size=(120, 100)), random.integers(0, 2, 120)
    right = out_of_sample(vectors, labels).argmax(axis=1) == labels
    assert right.mean() < 0.65


def test_what_does_not_teach_changes_nothing_about_the_others():
    """Whoever leaves out suspects of the training split must not have used the labels that he is judged by."""
    vectors, labels = blobs()
    in_training = np.arange(len(labels)) < 400
    other = np.where(in_training, labels, (labels + 1) % 3)  # all labels of the rest are wrong
    first, second = (out_of_sample(vectors, some, in_training) for some in (labels, other))
    assert not np.array_equal(labels, other)
    assert np.array_equal(first[in_training], second[in_training])
    assert (
        second[~in_training].argmax(axis=1) == labels[~in_training]
    ).mean() > 0.95  # learned from the right ones alone
    found = suspects(first, other, in_training)
    assert sum(not in_training[s.index] for s in found) > np.count_nonzero(~in_training) / 2
    assert [s for s in suspects(first, labels, in_training) if in_training[s.index]] == [
        s for s in found if in_training[s.index]
    ]


def test_few_texts_leave_some_folds_empty():
    vectors, labels = blobs((4, 4))
    in_training = np.zeros(8, dtype=bool)
    in_training[np.argsort(labels)[[0, 1, 4, 5]]] = True  # two of each class
    assert np.allclose(out_of_sample(vectors, labels, in_training, folds=5).sum(axis=1), 1)


def test_the_folds_are_as_good_as_scikit_learns():
    vectors, labels = blobs()
    found = out_of_sample(vectors, labels)
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    other = cross_val_predict(regression, vectors, labels, cv=folds, method="predict_proba")
    assert np.allclose(found.sum(axis=1), 1)
    assert 0 < np.abs(found - other).mean() < 0.02


def test_the_seed_deals_the_folds():
    vectors, labels = blobs((20, 20))
    assert np.array_equal(out_of_sample(vectors, labels, seed=1), out_of_sample(vectors, labels, seed=1))
    assert not np.array_equal(out_of_sample(vectors, labels, seed=1), out_of_sample(vectors, labels, seed=2))


def test_the_scale_of_a_number_does_not_matter():
    vectors, labels = blobs((40, 40))
    scaled = vectors * np.logspace(-3, 3, 12) + 5
    assert np.allclose(out_of_sample(vectors, labels), out_of_sample(scaled, labels), atol=1e-3)


def test_a_class_of_two_texts_is_learned_from_the_other_one():
    vectors, labels = blobs((100, 100, 2))
    vectors[labels == 2] += 20 * np.eye(12)[2]
    for seed in range(5):  # never are both left out together
        assert (out_of_sample(vectors, labels, seed=seed)[labels == 2].argmax(axis=1) == 2).all()


def test_a_class_without_texts_has_a_column_of_zeros():
    vectors, labels = blobs((40, 40))
    found = out_of_sample(vectors, labels * 2)
    assert found.shape == (80, 3) and (found[:, 1] == 0).all()
    assert np.array_equal(found[:, [0, 2]], out_of_sample(vectors, labels))


def test_fewer_texts_than_folds_are_each_left_out():
    vectors, labels = blobs((2, 2))
    assert np.allclose(out_of_sample(vectors, labels, folds=10).sum(axis=1), 1)


def test_what_cannot_be_cross_validated_is_refused():
    vectors, labels = blobs((10, 10, 1))
    with pytest.raises(ValueError, match="class 2 has a single text"):
        out_of_sample(vectors, labels)
    with pytest.raises(ValueError, match="two folds and two classes, not 1 and 3"):
        out_of_sample(vectors, labels, folds=1)
    with pytest.raises(ValueError, match="two folds and two classes, not 5 and 1"):
        out_of_sample(vectors, np.zeros(21, dtype=int))


def test_a_model_that_is_no_better_than_the_most_frequent_label_is_weak():
    """By hand: six texts that only the model has right and one that only the majority has, of 20."""
    given = np.array([0] * 13 + [1] * 7)
    said = given.copy()
    said[[12, 19]] = [1, 0]
    found = competence(np.eye(2)[said], given)
    assert (found.n, found.most, found.accuracy, found.majority) == (20, 0, 0.9, 0.65)
    assert found.p == pytest.approx(8 / 2**7) and found.weak
    said[18] = 0  # five against one: 7 / 64
    assert competence(np.eye(2)[said], given).weak
    assert competence(np.eye(2)[np.zeros(20, dtype=int)], given).p == 1.0  # says what the majority says


def test_the_most_frequent_label_is_that_of_the_training_texts():
    given, in_training = np.array([0, 0, 0, 1, 1]), np.array([False, False, True, True, True])
    found = competence(np.eye(2)[given], given, in_training)
    assert (found.most, found.majority) == (1, 0.4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_chance_is_weak_and_knowledge_is_not(seed):
    random = np.random.default_rng(seed)
    vectors, labels = random.normal(size=(600, 30)), random.integers(0, 2, 600)
    assert competence(out_of_sample(vectors, labels), labels).p > 0.001
    vectors, labels = blobs(seed=seed)
    assert not competence(out_of_sample(vectors, labels), labels).weak


@pytest.mark.parametrize(
    ("votes", "expected"),
    [({"a": 3}, True), ({"a": 2, "b": 0}, True), ({"a": 1}, False), ({"a": 2, "b": 1}, False), ({"b": 3}, False),
     ({}, False), (None, False)],
)  # fmt: skip
def test_a_label_is_unanimous_where_two_judges_or_more_all_chose_it(votes, expected):
    assert unanimous(votes, "a") is expected


@pytest.mark.parametrize(("right", "weak"), [(200, True), (500, True), (501, False)])
def test_of_twenty_classes_one_that_is_wrong_as_often_as_right_is_weak(right, weak):
    """The majority has a twentieth there, and a model with a fifth would accuse most of the labels."""
    given = np.arange(1000) % 20
    said = np.where(np.random.default_rng(7).permutation(1000) < right, given, (given + 3) % 20)
    found = competence(np.eye(20)[said], given)
    assert found.accuracy == right / 1000 and found.majority == 0.05 and found.p < 1e-9 and found.weak == weak
