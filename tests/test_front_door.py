"""The front door in Python: the same runs as the commands', scikit-learn's interface, a notebook."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
import sklearn
from safetensors.torch import load_file
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import estimator_checks_generator

import tezukuri
from tezukuri.data.dataset import Dataset, Example
from tezukuri.data.lists import dataset_of
from tezukuri.scripts.command import main as command
from tezukuri.train.evaluation import Evaluation
from tezukuri.train.plan import Plan

GOOD = [f"駅から{n}分で、{what}です。" for n in range(1, 7) for what in ("便利", "近くて快適", "静か")]
BAD = [f"{n}号室は{what}です。" for n in range(1, 7) for what in ("最悪", "狭くて不便", "騒がしい部屋")]
TEXTS, LABELS = GOOD + BAD, ["good"] * len(GOOD) + ["bad"] * len(BAD)
QUICK = {"model": "scratch", "epochs": 2, "lr": 1e-3, "batch_size": 8, "precision": "fp32", "regularizer": ["none"]}
LEARNS = QUICK | {"epochs": 8, "lr": 3e-3}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tezukuri.Run:
    root = tmp_path_factory.mktemp("outputs")
    return tezukuri.finetune(texts=TEXTS, labels=LABELS, report=False, output_dir=root, **LEARNS)


def only_run(root: Path) -> Path:
    (found,) = root.glob("*/*/*")
    return found


# --- runs -------------------------------------------------------------------------------------------------------


def test_a_run_from_python_is_the_commands_bit_for_bit(tmp_path, capsys):
    """Of the same table: files equal but for times, weights equal bit for bit."""
    table = tmp_path / "reviews.csv"
    table.write_text("text,label\n" + "".join(f"{t},{label}\n" for t, label in zip(TEXTS, LABELS, strict=True)))
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items() if name != "regularizer"]
    arguments += ["--regularizer", "none", "--data", str(table), "--no-report", "--output-dir", str(tmp_path / "a")]
    assert command(["finetune", *arguments]) == 0
    theirs = only_run(tmp_path / "a")
    ours = tezukuri.finetune(table, report=False, output_dir=tmp_path / "b", **QUICK).folder
    mine, other = (load_file(folder / "model" / "model.safetensors") for folder in (ours, theirs))
    assert all(mine[name].equal(other[name]) for name in mine)
    assert {p.name for p in ours.iterdir()} == {p.name for p in theirs.iterdir()}
    for name in ("predictions-test.jsonl", "predictions-dev.jsonl", "test-metrics.json", "classification_report.txt"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    options = [json.loads((folder / "config.json").read_text())["options"] for folder in (ours, theirs)]
    assert {**options[0], "output_dir": ""} == {**options[1], "output_dir": ""}
    assert Plan.of_run({"options": options[0]}) == Plan(**options[0])


def test_few_texts_are_read_until_a_new_head_has_had_enough_steps(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tezukuri.train.finetune.LEAST_STEPS", 18)  # 28 texts of train in batches of 8 are 4 steps
    told = QUICK | {"texts": TEXTS, "labels": LABELS, "report": False, "output_dir": tmp_path, "epochs": None}
    few = tezukuri.finetune(**told)
    assert few.settings.epochs == len(few.log) - 1 == 5
    assert json.loads((few.folder / "config.json").read_text())["settings"]["epochs"] == 5
    assert "5 epochs and not 3, since 28 texts make few steps (--epochs decides)" in capsys.readouterr().out
    again = tezukuri.finetune(**told | {"model": str(few.folder / "model")})  # its head knows something already
    assert again.settings.epochs == 3 and tezukuri.finetune(**told | {"epochs": 1}).settings.epochs == 1
    assert "since" not in capsys.readouterr().out


def test_a_run_of_lists_knows_all_about_itself(run):
    assert run.scores["test"]["f1"] == 1 and set(run.scores) == {"dev", "test"}
    assert [row["epoch"] for row in run.log] == list(range(9))
    assert run.classifier("駅から近い。").label == "good" and "test f1 1.0000" in repr(run)
    assert {"config.json", "model", "data.jsonl", "test-metrics.json"} <= {path.name for path in run.folder.iterdir()}
    assert len((run.folder / "data.jsonl").read_text(encoding="utf-8").splitlines()) == len(TEXTS)


def test_the_folder_alone_is_enough_for_the_page_and_the_classifier(run, capsys):
    again = tezukuri.Run.load(run.folder, "cpu")
    assert again.scores == run.scores
    assert again.data.examples == run.data.examples and again.settings == run.settings and again.plan == run.plan
    page = again.page(language="ja")
    assert page == run.folder / "report.html" and "<html" in page.read_text(encoding="utf-8")
    classifier = tezukuri.Classifier.load(run.folder)
    found = classifier(TEXTS, batch_size=5, top_k=1)
    assert [one.label for one in found] == [run.classifier(text).label for text in TEXTS]
    assert all(list(one.probabilities) == [one.label] for one in found)
    assert repr(classifier) == "Classifier(classify: bad, good; on cpu)"
    with pytest.raises(ValueError, match="top_k is 0; it must be at least 1"):
        classifier(TEXTS, top_k=0)
    quiet = {"model": run.folder, "report": False, "output_dir": run.folder / "judged"}
    judged = tezukuri.evaluate(run.plan.data, **quiet)
    assert judged.scores["accuracy"] == run.scores["test"]["accuracy"] and "Evaluation(test," in repr(judged)
    judged = tezukuri.evaluate((TEXTS, LABELS), **quiet)
    assert judged.scores["examples"] == len(TEXTS)
    assert Evaluation.load(judged.folder, "cpu").scores == judged.scores  # of the same texts, kept in the folder


def test_a_run_whose_data_changed_is_loaded_with_a_warning(run, monkeypatch, caplog):
    said = "texts, labels, votes or splits of data.jsonl are not those that"
    tezukuri.Run.load(run.folder, "cpu")
    assert said not in caplog.text
    monkeypatch.setattr(Dataset, "sha256", "of others")
    tezukuri.Run.load(run.folder, "cpu")
    assert said in caplog.text


def test_a_stopped_run_of_lists_goes_on(tmp_path, monkeypatch, run):
    from tezukuri.train import finetune as module

    write = module.write_csv

    def pull_the_plug(path, rows):
        write(path, rows)
        if len(rows) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_csv", pull_the_plug)
    with pytest.raises(KeyboardInterrupt):
        tezukuri.finetune(texts=TEXTS, labels=LABELS, report=False, output_dir=tmp_path, **LEARNS)
    monkeypatch.undo()
    again = tezukuri.finetune(resume=only_run(tmp_path))
    mine, other = (load_file(one.folder / "model" / "model.safetensors") for one in (again, run))
    assert all(mine[name].equal(other[name]) for name in mine)


def test_arrays_columns_and_data_sets_are_data_too(tmp_path):
    class Column:  # what a column of a table is to us: something to go through
        def __init__(self, values):
            self.values = values

        def __iter__(self):
            return iter(self.values)

    data = dataset_of(Column(TEXTS), np.array([0, 1] * 18), pairs=TEXTS[::-1], splits=["train", "dev"] * 18)
    assert data.labels == ("0", "1") and data.examples[3].pair == TEXTS[-4] and data.examples[1].split == "dev"
    assert repr(data) == "Dataset('texts', train 18, dev 18)"
    given = Dataset("own", ("bad", "good"), [Example(str(i), t, y, "train" if i % 3 else "dev") for i, (t, y) in
                                            enumerate(zip(TEXTS, LABELS, strict=True))])  # fmt: skip
    run = tezukuri.finetune(given, report=False, save_model="none", output_dir=tmp_path, **QUICK)
    assert run.data is given and set(run.scores) == {"dev"} and not (run.folder / "model").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epoch": 3}, r"a run has no option 'epoch': did you mean 'epochs'\?"),
        ({"data": Plan(), "epoch": 3}, r"a run has no option 'epoch': did you mean 'epochs'\?"),
        ({"epochs": 2.5}, r"epochs is 2\.5; it must be int or None"),
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"report": "no"}, "report is 'no'; it must be bool"),
        ({"language": "fr"}, "language 'fr' is not known; choose one of en, ja"),
        ({"warmup_ratio": 0.1, "warmup_steps": 5}, "given twice, as warmup_ratio and as warmup_steps"),
        ({"select": "best-beauty"}, "no epoch can be chosen by 'beauty': classify is measured by loss, accuracy"),
        ({"task": "poetry"}, "task 'poetry' is not known; choose one of classify"),
        ({"texts": TEXTS}, "texts and labels go together"),
        ({"data": TEXTS}, "data is a list: give a name, a file, a Dataset or a Plan, or give texts and labels"),
        ({"texts": "駅から近い。", "labels": ["good"]}, r"texts is one text \('駅から近い。'…\): give a list"),
        ({"texts": TEXTS, "labels": LABELS[1:]}, "there are 36 texts, but 35 labels"),
        ({"texts": [*TEXTS[1:], float("nan")], "labels": LABELS}, r"texts\[35\] is nan: leave it out"),
        ({"texts": TEXTS, "labels": [*LABELS[1:], None]}, r"labels\[35\] is None: leave its text out"),
        ({"texts": [], "labels": []}, "there are no texts"),
        ({"texts": TEXTS, "labels": ["good"] * 36}, "texts has one label only, 'good'"),
        ({"resume": "nowhere", "epochs": 2}, "leave out all else"),
    ],
)
def test_what_cannot_be_asked_for_is_said_in_one_sentence(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message) as error:
        tezukuri.finetune(**QUICK | {"output_dir": tmp_path} | arguments)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("*/*/*/model"))


def test_the_names_are_listed_and_start_without_torch():
    assert set(dir(tezukuri)) == set(tezukuri.__all__)
    code = "import sys, tezukuri; dir(tezukuri); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
    for name in tezukuri.__all__:
        assert name == "__version__" or getattr(tezukuri, name).__doc__


# --- scikit-learn -----------------------------------------------------------------------------------------------


def test_it_is_an_estimator(tmp_path):
    estimator = tezukuri.TextClassifier("scratch", epochs=8, lr=3e-3, batch_size=8, regularizer=["none"], seed=1)
    assert clone(estimator).get_params() == estimator.get_params()
    with pytest.raises(sklearn.exceptions.NotFittedError):
        estimator.predict(TEXTS)
    fitted = estimator.fit(np.array(TEXTS, dtype=object), np.array([7] * 18 + [-1] * 18))
    assert fitted is estimator and fitted.classes_.tolist() == [-1, 7]
    assert fitted.predict(["駅から近い。"]).tolist() == [7] and fitted.score(TEXTS, [7] * 18 + [-1] * 18) > 0.9
    assert fitted.predict_proba(TEXTS).shape == (36, 2) and np.allclose(fitted.predict_proba(TEXTS).sum(axis=1), 1)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    assert not list(tmp_path.iterdir()) and "TextClassifier(" in repr(fitted)


def test_a_fit_judges_only_for_what_it_prints(monkeypatch, capsys):
    """Its folder goes when it ends: a report and pictures would be made for nobody."""
    judged = []
    monkeypatch.setattr("tezukuri.train.finetune.judge_and_save", lambda run, *_: judged.append(run))
    for verbose in (False, True):
        estimator = tezukuri.TextClassifier("scratch", epochs=1, batch_size=8, regularizer=["none"], verbose=verbose)
        estimator.fit(TEXTS, LABELS)
        assert len(judged) == verbose and ("dev     4 texts" in capsys.readouterr().out) == verbose


def test_a_large_share_for_dev_leaves_a_text_of_each_class_to_learn_from():
    splits = tezukuri.TextClassifier(dev_share=0.9).split(np.array([0, 0, 1, 1, 1, 2]))
    assert [splits[i : i + n].count("train") for i, n in ((0, 2), (2, 3), (5, 1))] == [1, 1, 1]


def test_it_is_cross_validated_and_searched():
    estimator = tezukuri.TextClassifier("scratch", epochs=1, batch_size=8, regularizer=["none"])
    scores = cross_val_score(
        make_pipeline(FunctionTransformer(), estimator), np.array(TEXTS, dtype=object), LABELS, cv=2
    )
    assert scores.shape == (2,) and np.isfinite(scores).all()
    search = GridSearchCV(estimator, {"lr": [1e-5, 3e-3], "epochs": [8]}, cv=2).fit(TEXTS, LABELS)
    assert search.best_params_["lr"] == 3e-3


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ("駅から近い。", ["good"], "X is one text"),
        ([], [], "X has no texts"),
        ([1, 2], ["a", "b"], r"X\[0\] is 1, a int: X must be a list of texts"),
        (["a", "b"], ["a"], "X has 2 texts, but y has the shape"),
        (["a", "b"], ["a", "a"], "there is only one class"),
        (["a", "b"], ["a", "b"], "every class has a single text"),
    ],
)
def test_what_cannot_be_fitted_is_said(X, y, message):  # noqa: N803
    with pytest.raises(ValueError, match=message):
        tezukuri.TextClassifier("scratch", epochs=1).fit(X, y)


class OfNumbers(tezukuri.TextClassifier):
    """scikit-learn's own checks come with rows of numbers: each row is written as a text here, a word a column."""

    def fit(self, X, y):  # noqa: N803
        return super().fit(written(X), y)

    def predict_proba(self, X):  # noqa: N803
        return super().predict_proba(written(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False
        return tags


def written(X):  # noqa: N803
    X = np.asarray(X)  # noqa: N806
    if X.ndim != 2:
        raise ValueError("Expected 2D array. Reshape your data")
    words = np.clip(np.nan_to_num(X.astype(float)) * 2, -99, 99).astype(int)
    return [" ".join(f"{chr(97 + i % 26)}{word}" for i, word in enumerate(row)) or "x" for row in words]


# Checks of scikit-learn that do not apply, and why.
NOT_FOR_TEXTS = {
    "check_n_features_in_after_fitting": "texts have no number of features",
    "check_n_features_in": "texts have no number of features",
    "check_classifiers_train": "ends by predicting rows of fewer features, which are shorter texts",
    "check_estimators_empty_data_messages": "a row without features is a text of its own here",
    "check_estimators_nan_inf": "NaN in a number is a word like any other; as a text it is refused",
    "check_estimator_sparse_tag": "texts are not sparse matrices",
    "check_estimator_sparse_array": "texts are not sparse matrices",
    "check_estimator_sparse_matrix": "texts are not sparse matrices",
    "check_classifier_data_not_an_array": "its stand-in for an array cannot be gone through, and a column of texts can",
    "check_complex_data": "complex numbers are written as texts",
    "check_array_api_input": "asks for an environment variable",
}


@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks_pass_but_for_those_that_are_not_for_texts():
    estimator = OfNumbers("scratch", epochs=1, batch_size=8, regularizer=["none"], precision="fp32")
    failed, passed = {}, []
    for one, check in estimator_checks_generator(estimator):
        name = getattr(check, "func", check).__name__
        try:
            check(one)
            passed.append(name)
        except Exception as error:
            failed[name] = error
    assert set(failed) <= set(NOT_FOR_TEXTS), failed
    assert len(passed) > 35
    assert {"check_estimators_pickle", "check_classifiers_classes", "check_fit_idempotent"} <= set(passed)


# --- a notebook -------------------------------------------------------------------------------------------------


def test_a_notebook_runs(tmp_path):
    cells = [
        "import tezukuri",
        f"texts, labels = {TEXTS!r}, {LABELS!r}",
        f"run = tezukuri.finetune(texts=texts, labels=labels, output_dir='runs', report=False, **{QUICK!r})\nrun",
        "try:\n    tezukuri.finetune('nowhere.csv')\nexcept ValueError as error:\n    print('said:', error)",
        "tezukuri.finetune(epoch=3)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="did you mean 'epochs'"):
        nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [
        "".join(str(o.get("text", o.get("data", ""))) for o in cell.get("outputs", [])) for cell in notebook.cells
    ]
    assert "test f1" in outputs[2] and "epoch" in outputs[2] and "SystemExit" not in "".join(outputs)
    assert "said: no such data: 'nowhere.csv' is not a file" in outputs[3]
