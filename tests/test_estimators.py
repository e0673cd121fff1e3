"""The estimators for other tasks than one class, as scikit-learn uses its own."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.utils import get_tags

import tezukuri

WORDS = ("犬", "猫", "鳥", "馬")
DRAWN = np.random.default_rng(0).choice(WORDS, (90, 2))
TEXTS = ["と".join(words) for words in DRAWN]
SCORES = 10.0 * (DRAWN == "犬").sum(axis=1)
SETS = [{name for name, word in (("dog", "犬"), ("cat", "猫")) if word in words} for words in DRAWN]
TOLD = {"model": "scratch", "epochs": 5, "lr": 3e-3, "batch_size": 8, "precision": "fp32", "regularizer": ["none"]}
KINDS = (
    tezukuri.TextClassifier, tezukuri.TextRegressor, tezukuri.TextMultilabelClassifier, tezukuri.TextChooser,
    tezukuri.TextTagger, tezukuri.TextAnswerer,
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_clone_has_the_same_parameters_and_nothing_learned(kind):
    estimator = kind("scratch", epochs=3, options={"patience": 2}).set_params(lr=1e-3)
    again = clone(estimator)
    assert again.get_params() == estimator.get_params() and again.lr == 1e-3 and again is not estimator
    assert is_regressor(again) == (kind is tezukuri.TextRegressor) and is_classifier(again) == (
        kind not in (KINDS[1], *KINDS[4:])
    )
    assert get_tags(again).input_tags.string and not hasattr(again, "classifier_")
    with pytest.raises(ValueError, match=f"{kind.__name__} requires y to be passed"):
        estimator.fit(TEXTS, None)
    with pytest.raises(Exception, match="not fitted yet"):
        estimator.predict(TEXTS)


def test_numbers_are_learned_and_searched_over():
    search = GridSearchCV(tezukuri.TextRegressor(**TOLD), {"lr": [1e-9, 3e-3]}, cv=2).fit(TEXTS, SCORES)
    assert search.best_params_ == {"lr": 3e-3}
    best = search.best_estimator_
    assert best.score(TEXTS, SCORES) > 0.5 and best.predict(TEXTS[:3]).shape == (3,)
    assert np.array_equal(pickle.loads(pickle.dumps(best)).predict(TEXTS[:5]), best.predict(TEXTS[:5]))
    assert best.classifier_.task.name == "score"


def test_sets_of_labels_are_learned_as_a_matrix():
    names = MultiLabelBinarizer()
    matrix = names.fit_transform(SETS)
    fitted = tezukuri.TextMultilabelClassifier(**TOLD).fit(TEXTS, matrix)
    found = fitted.predict(TEXTS)
    assert found.shape == matrix.shape and fitted.classes_.tolist() == [0, 1] and fitted.score(TEXTS, matrix) > 0.8
    assert np.array_equal(fitted.predict_proba(TEXTS) >= fitted.classifier_.task.thresholds, found.astype(bool))
    assert np.mean([one == own for one, own in zip(map(set, names.inverse_transform(found)), SETS, strict=True)]) > 0.8


def test_choices_entities_and_answers_are_learned():
    few = {"model": "scratch", "lr": 5e-3, "batch_size": 4, "precision": "fp32", "regularizer": ["none"]}
    dogs = [(f"{i}?", ["犬が", "猫"] if i % 2 else ["猫", "犬が"]) for i in range(24)]
    right = [1 - i % 2 for i in range(24)]
    chooser = tezukuri.TextChooser(epochs=3, **few).fit(dogs, np.array(right))
    assert chooser.score(dogs, right) > 0.9 and chooser.predict_proba(dogs[:3]).shape == (3, 2)
    texts = [f"{i} は{'犬と猫'[:: 1 if i % 2 else -1]}" for i in range(30)]
    entities = [[(text.index("犬"), text.index("犬") + 1, "dog")] for text in texts]
    tagger = tezukuri.TextTagger(epochs=5, **few).fit(texts, entities)
    assert tagger.score(texts, entities) > 0.9 and tagger.predict(texts[:1])[0][0].probability > 0.5
    assert tagger.predict(texts[:9]) == [tuple(map(tuple, own)) for own in entities[:9]]
    asked = [("犬?", text) for text in texts]
    answerer = clone(tezukuri.TextAnswerer(epochs=5, **few)).fit(asked, [[one[:2] for one in own] for own in entities])
    answers = [[{"start": own[0][0], "text": "犬"}] for own in entities]
    assert answerer.score(asked, answers) > 0.9 and answerer.predict(asked[:1])[0][0][:2] == entities[0][0][:2]


@pytest.mark.parametrize(
    ("kind", "texts", "y", "told"),
    [
        (KINDS[1], ["a", "b"], [1.0], "give one label for each"),
        (KINDS[1], ["a", "b"], ["x", "y"], "could not convert"),
        (KINDS[1], ["a", "b", "c"], [1.0, float("nan"), 2.0], r"labels\[1\] is nan"),
        (KINDS[1], ["a"], [1.0], "X has a single text"),
        (KINDS[1], ["a", "b", "c", "d"], [1, 1, 1, 1], "have the score 1: nothing can be learned"),
        (KINDS[1], ["a", "b"], [[1, 2], [1, 2]], "shape"),
        (KINDS[2], ["a", "b"], [{"x"}, {"y"}], "y is no matrix of 0 and 1"),
        (KINDS[2], ["a", "b"], [[0, 2], [1, 1]], "y is no matrix of 0 and 1"),
        (KINDS[2], ["a", "b"], [[0, 1]], "give one label for each"),
        (KINDS[2], ["a", ""], [[0, 1], [1, 1]], "texts.1. is ''"),
        (KINDS[3], [("a", ["b", "c"])] * 2, [0, 2], r"texts\[1\]: the label 2 is none of the choices"),
        (KINDS[3], ["a", "b"], [0, 1], r"give a question and a list of its choices"),
        (KINDS[4], ["a", "b"], [[(0, 1, "x")]], r"y has the shape \(1,\): give one"),
        (KINDS[4], ["a", "b"], [[(0, 1, "x")], [(0, 9, "x")]], "has a stretch from 0 to 9, but the text has 1"),
        (KINDS[5], ["a", "b"], [[(0, 1)], [(0, 1)]], r"give each text as \(question, context\)"),
    ],
)
def test_what_cannot_be_learned_is_refused(kind, texts, y, told):
    with pytest.raises(ValueError, match=told):
        kind("scratch").fit(texts, y)
