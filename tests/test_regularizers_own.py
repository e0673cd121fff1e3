"""Regularizers of one's own: what cannot work is refused in a sentence at the start, and what works says its values."""

import sys
from contextlib import contextmanager
from typing import ClassVar

import numpy as np
import pytest
import torch
from test_regularizers import outcome
from test_regularizers_texts import OURS, RICH, made, save_teacher
from test_regularizers_weights import MINE
from test_train import DEV, TRAIN, model_of, settings, weights
from tiny import LABELS, TASK, tiny

from tezukuri.eval.predict import predict
from tezukuri.eval.tasks.classify import Classify
from tezukuri.model.bert import Bert
from tezukuri.model.heads import ClassHead, Head
from tezukuri.model.model import Model
from tezukuri.train.loop import fine_tune
from tezukuri.train.plan import whole_path
from tezukuri.train.regularizers.checks import METHODS, working
from tezukuri.train.regularizers.ema import EMA
from tezukuri.train.regularizers.freelb import FreeLB
from tezukuri.train.regularizers.fresh_top import FreshTop
from tezukuri.train.regularizers.hidden_mixup import HiddenMixup
from tezukuri.train.regularizers.mixout import Mixout
from tezukuri.train.regularizers.r_drop import RDrop
from tezukuri.train.regularizers.regularizer import AT_LEAST_0, Range, Regularizer
from tezukuri.train.regularizers.shelf import SHELF, regularizer_of, regularizers_of
from tezukuri.train.regularizers.simcse import SimCSE
from tezukuri.train.regularizers.supcon import SupCon
from tezukuri.train.regularizers.temperature import Temperature
from tezukuri.train.team import Team

IMPORT = "from tezukuri.train.regularizers.regularizer import AT_LEAST_0, Regularizer\n"


def nothing(self, output, batch):
    """A penalty that is none."""


def own(name="mine", **body) -> Regularizer:
    """An object of a class of one's own."""
    return type("Mine", (Regularizer,), {"name": name, **body})()


def refused(regularizer, message: str) -> None:
    """By the loop, in one sentence, before a row of the log."""
    run = fine_tune(model_of(), TASK, TRAIN, DEV, settings(), regularizers=[regularizer])
    with pytest.raises(ValueError, match=message) as caught:
        next(run)
    assert "\n" not in str(caught.value)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Write a file of one's own, in the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, file: str = "mine.py") -> None:
        (tmp_path / file).write_text(IMPORT + text, encoding="utf-8")

    return write


# ---- methods


@pytest.mark.parametrize(
    ("written", "meant"),
    [("penality", "penalty"), ("Penalty", "penalty"), ("penalties", "penalty"), ("change_batches", "change_batch"),
     ("changeBatch", "change_batch"), ("afterstep", "after_step"), ("after_steps", "after_step"), ("beginn", "begin"),
     ("load_states", "load_state"), ("evaluate", "evaluation"), ("secondpass", "second_pass"),
     ("change_gradient", "change_gradients"), ("finished", "finish")],
)  # fmt: skip
def test_a_misspelt_method_is_refused(written, meant):
    body = {written: lambda self, *rest: None, "rate": lambda self, name: 1.0}
    refused(own(**body), f"the regularizer mine has a method {written}, .* did you mean {meant}, or a helper")


def test_helpers_with_other_names_and_those_of_a_base_are_ones_own_affair():
    body = {name: lambda self: 0 for name in ("blend", "forward", "weights_of", "my_loss", "_penality", "Start_")}
    assert working([own(penalty=nothing, **body)])

    class Learned(torch.nn.Module, Regularizer):  # a module's load_state_dict is none of ours
        penalty = nothing

    assert working([Learned()])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"penalty": lambda self, output: 0}, r"method penalty\(output\), but the loop calls penalty\(output, batch\)"),
        ({"begin": lambda self: 0}, r"method begin\(\), but the loop calls begin\(model, train, dev\)"),
        ({"after_step": lambda self, model, done, rate: 0}, r"after_step\(model, done, rate\), but .*\(model, done\)"),
        ({"state": lambda self, model: {}}, r"state\(model\), but the loop calls state\(\)"),
        ({"penalty": nothing, "rate": 0.1}, r"keeps a value as rate, but the loop calls the method rate\(name\)"),
        ({"penalty": nothing, "__init__": lambda self: setattr(self, "loss", 1)}, "keeps a value as loss"),
        ({"penalty": nothing, "__init__": lambda self: setattr(self, "state", dict)}, "keeps a value as state"),
        ({"weight": 1.0}, "the regularizer mine does nothing: it has none of the methods begin, rate, "),
    ],
)
def test_a_method_that_cannot_be_called_is_refused(body, message):
    refused(own(**body), message)


def test_a_method_may_name_its_parameters_as_it_likes_and_have_more_with_defaults():
    def penalty(self, answers, texts, strength=2.0):
        return strength * answers.logits.float().pow(2).mean()

    def begin(self, *everything):
        self.seen = len(everything)

    regularizer = own(penalty=penalty, begin=begin)
    rows, _ = outcome([regularizer])
    assert rows[-1]["train_mine"] > 0 and regularizer.seen == 3


# ---- names


@pytest.mark.parametrize(
    "name", ["loss", "lr", "epoch", "seconds", "grad_norm", "dev_f1", "train_x", "none", "", "a b", "a,b", "a:b", 3]
)
def test_a_reserved_name_or_one_that_no_column_can_have_is_refused(name):
    refused(own(name, penalty=nothing), f"a regularizer cannot have the name {name!r}: choose one")


@pytest.mark.parametrize("name", ["short-logits", "Mine_2", "v1.5", "罰則"])
def test_other_names_are_allowed(name):
    assert working([own(name, penalty=nothing)])[0].described == name


def test_a_name_is_by_default_that_of_the_class_also_of_one_derived_from_the_shelf():
    class Mine(RDrop):
        pass

    rows, _ = outcome([Mine(0.5)])
    assert rows[-1]["train_Mine"] > 0 and Mine(0.5).described == "Mine (weight 0.5)"


def test_what_is_no_object_of_a_regularizer_is_refused():
    for wrong in ("r-drop", RDrop, None):
        refused(wrong, "is no Regularizer: give objects")


# ---- what methods return


def returns(value):
    return lambda self, output, batch: value


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"penalty": returns(0.5)}, "penalty of the regularizer mine returned 0.5; it must return a scalar tensor, a"),
        ({"penalty": returns(torch.ones(8))}, r"returned a tensor of shape \(8,\); it must return a scalar tensor"),
        ({"penalty": returns(torch.ones(1))}, r"returned a tensor of shape \(1,\); .* a mean per text"),
        ({"penalty": returns({"a": torch.ones(())})}, r"returned \{'a': tensor\(1\.\)\}; it must"),
        ({"loss": lambda self, p, t: p.sum()}, r"loss of .* shape \(\); it must return a tensor of shape \(8,\)"),
        ({"loss": lambda self, p, t: p.sum(dim=0)}, r"loss of the regularizer mine returned .* \(3,\); it must"),
        ({"loss": lambda self, p, t: None}, "loss of the regularizer mine returned None; it must return a tensor"),
        ({"change_batch": lambda self, batch: None}, "change_batch of .* mine returned None; it must return the batch"),
        ({"rate": lambda self, name: None}, "rate of the regularizer mine returned None; it must return the number"),
        ({"evaluation": lambda self, model: None}, "evaluation of .* returned None; .* write @contextmanager above it"),
    ],
)
def test_what_a_method_must_not_return_is_refused_at_the_first_batch(body, message):
    model, regularizer = model_of(), own(finish=lambda self, model: finished.append(1), **body)
    finished = []
    with pytest.raises(ValueError, match=message) as caught:
        list(fine_tune(model, TASK, TRAIN, DEV, settings(), regularizers=[regularizer]))
    assert finished and "\n" not in str(caught.value)


def test_losses_of_texts_or_their_summands_are_both_taken():
    def of_texts(self, logits, targets):
        return -(targets * logits.log_softmax(dim=-1)).sum(dim=-1)

    def summands(self, logits, targets):
        return -(targets * logits.log_softmax(dim=-1))

    (one, _), (other, _), (plain, _) = outcome([own(loss=of_texts)]), outcome([own(loss=summands)]), outcome([])
    assert one[-1]["train_loss"] == pytest.approx(other[-1]["train_loss"], rel=1e-4)
    assert other == plain


# ---- values


def test_ranges_and_the_neutral_setting_are_tables_of_the_class():
    class Ranged(Regularizer):
        ranges: ClassVar = {"weight": AT_LEAST_0, "parts": Range(lambda n: n in (1, 2), "it lies in {1, 2}")}
        neutral_at: ClassVar = {"weight": 0}
        penalty = nothing

        def __init__(self, weight: float = 1.0, parts: int = 2) -> None:
            self.weight, self.parts = weight, parts

    assert working([Ranged(), Ranged(weight=0)])[0].described == "Ranged (weight 1, parts 2)"
    for bad, message in (
        (Ranged(weight=-1), "the weight of Ranged is -1; it cannot be below 0"),
        (Ranged(weight=float("inf")), "the weight of Ranged is inf; it must be a finite number"),
        (Ranged(weight="0.5"), "the weight of Ranged is '0.5'; it must be a finite number"),
        (Ranged(parts=3), r"the parts of Ranged are 3; they lie in \{1, 2\}"),
    ):
        refused(bad, message)


def test_bad_values_are_refused_in_python_too():
    for bad, message in (
        (RDrop(-1), "the weight of r-drop is -1; it cannot be below 0"),
        (FreeLB(steps=0), "the steps of freelb are 0; there must be at least 1"),
        (FreshTop(-2), "the layers of fresh-top are -2; they cannot be below 0"),
        (EMA(float("nan")), "the decay of ema is nan"),
    ):
        refused(bad, message)


def test_what_is_at_work_says_its_values():
    both = regularizers_of(["r-drop", "judge-votes:weight=0.5"])
    assert str(Team(both)) == "r-drop (weight 1), judge-votes (weight 0.5)" and str(Team()) == "none"
    assert str(Team([EMA(0.0), Temperature(), FreeLB()])) == "temperature, freelb (steps 3, epsilon 1, alpha 0.5)"
    (distillation,) = regularizers_of(["distillation:teacher=a/b"])
    assert distillation.described == "distillation (teacher a/b, temperature 2, weight 1)"
    assert distillation.values == {"teacher": "a/b", "temperature": 2.0, "weight": 1.0}
    assert Team([both[0], EMA()]).logged == ["r-drop"]


def test_a_class_of_ones_own_says_what_its_constructor_was_given(mine):
    mine("""
class Mine(Regularizer):
    def __init__(self, weight: float = 0.1, on: bool = False, rate: int = 3, names: tuple = (1,), kind: str = ""):
        self.w, self.on = weight, on
    def penalty(self, output, batch):
        return self.w * output.logits.float().mean()
""")
    (found,) = regularizers_of(["mine.py:Mine:on=true,weight=2"])
    assert found.values == {"weight": 2.0, "on": True, "rate": 3, "kind": ""} and (found.w, found.on) == (2.0, True)
    assert found.described == "Mine (weight 2, on true, rate 3)"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("parts=0.5", "parts=0.5 in the regularizer .* must be a whole number"),
        ("on=yes", "on=yes in the regularizer .* must be true or false"),
        ("names=a", "names=a in the regularizer .* has no number or text as its default, and no such annotation"),
        ("bare=1", "bare=1 .* has no number or text as its default, and no such annotation"),
        ("weight=1", r"the regularizer 'mine.py:Mine:weight=1' needs a value of must: mine.py:Mine:must=…"),
        ("must=some", "must=some .* is not a number"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused(mine, given, message):
    mine("""
class Mine(Regularizer):
    def __init__(self, must: float, weight: float | None = None, parts: int = 1, on: bool = False, names=(), bare=None):
        self.must, self.weight = must, weight
    def penalty(self, output, batch): ...
""")
    with pytest.raises(ValueError, match=message):
        regularizer_of(f"mine.py:Mine:{given}")
    found = regularizer_of("mine.py:Mine:must=1,weight=2.5")
    assert (found.must, found.weight) == (1.0, 2.5) and regularizer_of("mine.py:Mine:must=1").weight is None


# ---- where a class is found


def test_a_module_is_found_from_the_working_directory_and_the_path_stays_as_it_was(mine):
    mine("import own_helper\nclass Mine(Regularizer):\n    def penalty(self, output, batch): ...\n", "own_module.py")
    mine("", "own_helper.py")
    before = list(sys.path)
    for place in ("own_module:Mine", "own_module.py:Mine"):
        assert regularizer_of(place).name == "Mine"
    assert sys.path == before
    assert regularizer_of("tezukuri.train.regularizers.r_drop:RDrop:weight=2").described == "r-drop (weight 2)"


@pytest.mark.parametrize(
    ("text", "asked", "message"),
    [
        ("class Mine(Regularizer)\n", "mine.py:Mine", r"cannot be had: .*mine.py, line 2: SyntaxError: expected ':'"),
        ("\nweights = wieghts\n", "mine.py:Mine", r"mine.py, line 3: NameError: name 'wieghts' is not defined"),
        ("import no_such_package\n", "mine.py:Mine", "mine.py, line 2: ModuleNotFoundError: No module named 'no_such"),
        ("raise SystemExit('no')\n", "mine.py:Mine", "mine.py, line 2: SystemExit: no"),
        ("weights = wieghts\n", "broken_module:Mine", r"broken_module.py, line 2: NameError"),
        ("", "mine.py:Mine", "mine.py has no class Mine; it has no Regularizer"),
        ("class A(Regularizer): ...\nclass B(A): ...\n", "mine.py:Mine", "mine.py has no class Mine; it has A, B$"),
        ("", "no_such_module:Mine", "cannot be had: there is no module no_such_module, in /.* or installed"),
        ("", "no_such.module:Mine", "cannot be had: there is no module no_such, in"),
        ("", "elsewhere.py:Mine", "cannot be had: there is no file elsewhere.py"),
        ("Mine = 3\n", "mine.py:Mine", "'mine.py:Mine' is no Regularizer"),
        ("", "mine.py:Regularizer", "'mine.py:Regularizer' is no Regularizer: it must be a class derived from it"),
        ("", "r-drop:4", "'4' of the regularizer 'r-drop:4' is no setting: write r-drop:key=value"),
        ("class Mine(Regularizer):\n    name = 'ema'\n", "mine.py:Mine", "has the name of another one, ema: give it"),
        ("class Mine(Regularizer):\n    def __init__(self):\n        self.x = 1 / 0\n", "mine.py:Mine",
         "'mine.py:Mine' cannot be made: .*mine.py, line 4: ZeroDivisionError: division by zero"),
        ("class Mine(Regularizer):\n    def __init__(self):\n        raise ValueError('my words')\n", "mine.py:Mine",
         "^my words$"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_in_a_sentence(mine, text, asked, message):
    mine(text, "broken_module.py" if asked.startswith("broken") else "mine.py")
    before = list(sys.path)
    with pytest.raises(ValueError, match=message) as caught:
        regularizers_of([asked])
    assert "\n" not in str(caught.value) and sys.path == before


def test_paths_are_made_whole_and_neither_names_of_the_hub_nor_settings_are_taken_for_them(mine, tmp_path):
    mine("", "focal.py")
    (tmp_path / "kept").mkdir()
    for told in ("focal:gamma=1", "distillation:teacher=owner/name,weight=2"):
        assert whole_path(told) == told
    assert whole_path("focal:Mine:weight=1") == f"{tmp_path.resolve() / 'focal.py'}:Mine:weight=1"
    assert whole_path("distillation:weight=2,teacher=kept") == (
        f"distillation:weight=2,teacher={tmp_path.resolve() / 'kept'}"
    )


# ---- models that it does not fit


class Scores(Head, torch.nn.Linear):
    """One number for a text, as a head that is none of classes."""

    def loss(self, logits, targets):
        return (logits - targets).pow(2)

    def apart(self, p, q, both_ways=False):
        return (p - q).pow(2).mean()


class Score(Classify):
    head = Scores


def run_of_scores(regularizer):
    torch.manual_seed(0)
    model = Model(Bert(tiny(initializer_range=0.1)), LABELS, Scores)
    return fine_tune(model, Score(LABELS), RICH, DEV, settings(), regularizers=[regularizer])


ONLY_CLASSES = {"label-smoothing", "class-balanced", "focal", "judge-votes", "supcon", "temperature"}


@pytest.mark.parametrize("name", sorted(set(SHELF) - {"distillation"}))
def test_what_is_for_classes_alone_refuses_another_head_and_all_others_learn_with_it(name):
    (regularizer,) = regularizers_of([name])
    if name not in ONLY_CLASSES:
        assert np.isfinite(list(run_of_scores(regularizer))[-1]["train_loss"])
        return
    with pytest.raises(ValueError, match=f"the regularizer {name} is for classes, and .* is Scores"):
        next(run_of_scores(regularizer))


def without_pooler(reads: str) -> Model:
    head = type("Reads", (ClassHead,), {"reads": reads})
    torch.manual_seed(0)
    return Model(Bert(tiny(initializer_range=0.1), pooler=False), LABELS, head)


@pytest.mark.parametrize("reads", ["first", "mean"])
def test_a_model_without_a_pooler_is_refused_or_works(reads):
    for kind in (HiddenMixup, FreshTop, SimCSE, SupCon, Mixout, RDrop):
        run = fine_tune(without_pooler(reads), TASK, TRAIN, DEV, settings(epochs=1), regularizers=[kind()])
        if kind is HiddenMixup:
            with pytest.raises(ValueError, match="hidden-mixup mixes what a pooler gives of each text, which"):
                next(run)
        else:
            assert np.isfinite(list(run)[-1]["train_loss"])


@pytest.mark.parametrize("kind", [SimCSE, SupCon])
def test_a_model_with_no_vector_of_a_text_is_refused(kind):
    with pytest.raises(ValueError, match=f"{kind.name} compares vectors of whole texts, and this model"):
        kind().begin(without_pooler("tokens"), TRAIN, DEV)


# ---- used again


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "model"
    return folder, save_teacher(folder)


@pytest.mark.parametrize("name", [*MINE, *OURS, "r-drop", "label-smoothing", "class-balanced", "fgm", "ema"])
def test_one_object_serves_for_several_runs_each_as_the_first(name, teacher):
    regularizer = made(name, teacher)
    born = set(vars(regularizer)) | {"hooks"}
    ends = []
    for _ in range(2):
        model = model_of()
        rows = list(fine_tune(model, TASK, RICH, DEV, settings(), regularizers=[regularizer]))
        ends.append(([{k: v for k, v in row.items() if k != "seconds"} for row in rows], weights(model)))
    assert ends[0][0] == ends[1][0] and torch.equal(ends[0][1], ends[1][1])
    assert set(vars(regularizer)) <= born  # all state is there from the beginning


def test_what_was_hung_into_the_model_is_taken_out_without_a_word():
    def begin(self, model, train, dev):
        self.hooks = [model.dropout.register_forward_hook(lambda module, inputs, x: 0 * x)]

    model = model_of()
    before = predict(model, DEV.encodings)
    with Team([own(begin=begin)]).at_work(model, TRAIN, DEV):
        assert not torch.equal(predict(model, DEV.encodings), before)
    assert torch.equal(predict(model, DEV.encodings), before)


def test_a_run_is_not_resumed_with_other_regularizers(tmp_path):
    run = fine_tune(model_of(), TASK, TRAIN, DEV, settings(), tmp_path, regularizers=[EMA(), RDrop()])
    next(run), next(run)
    run.close()
    again = fine_tune(model_of(), TASK, TRAIN, DEV, settings(), tmp_path, resume=True, regularizers=[EMA()])
    with pytest.raises(ValueError, match="the run had 2 regularizers when it was stopped, not 1"):
        next(again)


def test_every_method_of_the_interface_is_called():
    called = []
    body = {name: spy(name, called) for name in METHODS if name not in ("evaluation", "load_state")}

    @contextmanager
    def evaluation(self, model):
        called.append("evaluation")
        yield

    outcome([own(evaluation=evaluation, **body)])
    assert set(called) == set(METHODS) - {"load_state"}


def spy(name, called):
    """The method of the base, noted when it is called; its loss is that of classes."""
    plain = getattr(Regularizer, name)

    def method(self, *given):
        called.append(name)
        return -(given[1] * given[0].log_softmax(dim=-1)) if name == "loss" else plain(self, *given)

    return method
