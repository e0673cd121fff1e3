"""Regularizers: each against its formula, and all in the loop: neutral, resumed, together."""

import inspect
import math
import re

import numpy as np
import pytest
import torch
from checkout import ROOT
from test_train import DEV, NO_DROPOUT, TRAIN, corpus, model_of, settings, weights
from tiny import TASK, random_texts, tiny
from torch.nn import functional as F

from tezukuri.eval.predict import predict
from tezukuri.model.packing import Output, pack
from tezukuri.train.batch import Batch, batch_of
from tezukuri.train.loop import TrainingError, fine_tune
from tezukuri.train.regularizers.class_balanced import ClassBalanced, class_weights
from tezukuri.train.regularizers.ema import EMA
from tezukuri.train.regularizers.fgm import FGM
from tezukuri.train.regularizers.perturbation import unit
from tezukuri.train.regularizers.r_drop import RDrop
from tezukuri.train.regularizers.regularizer import Regularizer
from tezukuri.train.regularizers.shelf import SHELF, listing, regularizers_of


def outcome(regularizers, **changes):
    """The rows without their times, and the weights at the end."""
    rates = changes.pop("model", {})
    model = model_of(**rates)
    rows = list(fine_tune(model, TASK, TRAIN, DEV, settings(**changes), regularizers=regularizers))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows], weights(model)


def output_of(logits: torch.Tensor) -> Output:
    return Output(hidden=logits, logits=logits)


def batch(rows) -> Batch:
    """A micro-batch of some of the training texts."""
    return batch_of(TRAIN, np.array(rows), torch.device("cpu"))


def r_drop(*values, **named) -> RDrop:
    """One that has begun."""
    regularizer = RDrop(*values, **named)
    regularizer.begin(model_of(), TRAIN, DEV)
    return regularizer


def empty(size: int) -> Batch:
    """A micro-batch for penalties that look at the logits alone."""
    numbers = torch.arange(size)
    return Batch([], numbers, numbers % 3, F.one_hot(numbers % 3, 3).float())


# ---- R-Drop


def test_r_drop_by_hand():
    """Two passes that say (1/2, 1/2) and (3/4, 1/4): KL = log 2 / √3 one way, 3/4 log 3 - log 2 the other."""
    logits = torch.tensor([[0.5, 0.5], [0.75, 0.25]]).log()
    one = math.log(2) - math.log(3) / 2
    other = 0.75 * math.log(3) - math.log(2)
    found = r_drop(weight=2.0).penalty(output_of(logits), empty(1).twice())
    assert float(found) == pytest.approx(2 * (one + other) / 2, rel=1e-5)


def test_r_drop_does_not_depend_on_the_size_of_the_batch():
    first, second = torch.randn(5, 3), torch.randn(5, 3)
    once = r_drop().penalty(output_of(torch.cat([first, second])), empty(5).twice())
    twice = r_drop().penalty(output_of(torch.cat([first, first, second, second])), empty(10).twice())
    torch.testing.assert_close(once, twice)


def test_r_drop_without_dropout_is_a_run_without_it():
    """Both copies then say the same: no penalty, and the mean over them is the mean over one."""
    plain, before = outcome(regularizers_of(["class-balanced"]), model=NO_DROPOUT, accumulate=3)
    rows, after = outcome(regularizers_of(["class-balanced", "r-drop"]), model=NO_DROPOUT, accumulate=3)
    for row, expected in zip(rows, plain, strict=True):
        assert (row.pop("train_r-drop") or 0.0) == pytest.approx(0, abs=1e-6)
        assert row == pytest.approx(expected, rel=1e-3, abs=1e-4) if expected["train_loss"] else row == expected
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)


def test_r_drop_adds_weight_times_penalty_to_the_gradient():
    """With the same dropout masks, the gradients at weights 0, 1 and 2 lie on a straight line."""
    model = model_of()
    gradients = []
    for weight in (0.0, 1.0, 2.0):
        torch.manual_seed(7)
        regularizer = r_drop(weight)
        twice = regularizer.change_batch(batch(range(5)))
        output = model.train()(pack(twice.texts))
        (F.cross_entropy(output.logits, twice.targets) + regularizer.penalty(output, twice)).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
        model.zero_grad()
    torch.testing.assert_close(gradients[2] - gradients[0], 2 * (gradients[1] - gradients[0]), rtol=1e-3, atol=1e-5)
    assert (gradients[1] - gradients[0]).abs().max() > 1e-3


# ---- FGM


def test_fgm_by_brute_force():
    """The gradients are those of L(x) + L(x + δ), δ of length ε over each sequence, from the gradient at x."""
    model = model_of(**NO_DROPOUT).train()
    some = batch(range(5))
    packed = pack(some.texts)
    fgm = FGM(epsilon=0.5)
    fgm.begin(model, TRAIN, DEV)

    def task():
        return F.cross_entropy(model(packed).logits, some.targets)

    fgm.change_batch(some)
    task().backward()
    fgm.second_pass(task)
    found = torch.cat([p.grad.flatten() for p in model.parameters()])
    fgm.finish(model)

    model.zero_grad()
    x = model.bert.embeddings(packed)
    step = None

    def add(module, inputs, output):
        return output + step if step is not None else output

    hook = model.bert.embeddings.register_forward_hook(lambda m, i, out: x if step is None else out + step)
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(packed).logits, some.targets), x)
    parts = gradient.split(packed.boundaries.diff().tolist())
    step = torch.cat([0.5 * part / part.norm() for part in parts])
    hook.remove()
    task().backward()
    hook = model.bert.embeddings.register_forward_hook(add)
    task().backward()
    hook.remove()
    expected = torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def interrupted():
    raise KeyboardInterrupt


def test_a_sequence_is_divided_by_its_own_length_and_zero_stays_zero():
    packed = pack(random_texts(tiny(), [2, 3]))
    x = torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    assert torch.equal(unit(x, packed), x / 5)


def test_fgm_leaves_evaluation_and_the_model_as_they_were():
    model = model_of(**NO_DROPOUT)
    before = predict(model, DEV[0])
    fgm = FGM()
    fgm.begin(model, TRAIN, DEV)
    fgm.change_batch(batch(range(5)))
    packed = pack(random_texts(tiny()))
    plain = model.train()(packed).logits
    plain.sum().backward()
    with pytest.raises(KeyboardInterrupt):
        fgm.second_pass(interrupted)
    assert torch.equal(model(packed).logits, plain)  # what it moved is back, also when the second pass broke off
    assert torch.equal(predict(model, DEV[0]), before)
    fgm.finish(model)
    assert not model.bert.embeddings._forward_hooks


# ---- EMA


def test_ema_by_hand():
    model = model_of()
    ema = EMA(decay=0.3)
    ema.begin(model, TRAIN, DEV)
    with ema.evaluation(model):  # nothing to average yet
        expected = weights(model).clone()
    for n in range(1, 8):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        ema.after_step(model, n / 10)
        decay = min(0.3, (1 + n) / (10 + n))
        expected = weights(model) if n == 1 else decay * expected + (1 - decay) * weights(model)
    own = weights(model)
    with ema.evaluation(model):
        torch.testing.assert_close(weights(model), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(weights(model), own)


def test_ema_changes_what_is_looked_at_and_not_how_it_is_trained():
    plain, _ = outcome([], select="last")
    rows, averaged = outcome([EMA(decay=0.5)], select="last")
    for row, other in zip(rows, plain, strict=True):
        assert (row["train_loss"], row["grad_norm"]) == (other["train_loss"], other["grad_norm"])
    assert rows[1]["dev_loss"] != plain[1]["dev_loss"]
    model = model_of()
    ema = EMA(decay=0.5)
    for _ in fine_tune(model, TASK, TRAIN, DEV, settings(select="last"), regularizers=[ema]):
        pass
    assert torch.equal(weights(model), averaged)
    assert torch.equal(torch.cat([average.flatten() for average in ema.average]), averaged)


# ---- class-balanced loss


def test_class_balanced_by_hand():
    """With β = 1/2, two texts stand for 3/2 different ones and one for 1: weights 2/3 and 1, the mean text having 1."""
    found = class_weights(np.array([2, 1, 0]), 0.5)
    assert found.tolist() == pytest.approx([2 / 3 / (7 / 9), 1 / (7 / 9), 0])
    assert class_weights(np.array([100, 10, 0]), 0.999).tolist() == pytest.approx([0.5623, 5.3773, 0], abs=1e-4)
    balanced = ClassBalanced(beta=0.5)
    balanced.weights = found
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]).log()
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    expected = [math.log(2) * 2 / 3 / (7 / 9), math.log(4) / (7 / 9)]
    assert balanced.loss(logits, targets).tolist() == pytest.approx(expected)


# ---- in the loop


@pytest.mark.parametrize(
    "neutral",
    [
        "r-drop:weight=0",
        "fgm:epsilon=0",
        "ema:decay=0",
        "label-smoothing:epsilon=0",
        "class-balanced:beta=0",
    ],
)
def test_at_its_neutral_setting_it_is_left_out(neutral):
    assert regularizers_of([neutral]) == []


ALL = ["label-smoothing", "class-balanced", "r-drop:weight=0.5", "fgm:epsilon=0.3", "ema:decay=0.9"]


@pytest.mark.parametrize("amount", ["fp32", "bf16"])
def test_all_together_a_stopped_run_ends_as_the_unbroken_one_bit_for_bit(tmp_path, amount):
    chosen = settings(epochs=4, accumulate=2, select="best-loss", precision=amount)
    unbroken = model_of()
    all_rows = list(fine_tune(unbroken, TASK, TRAIN, DEV, chosen, regularizers=regularizers_of(ALL)))
    stopped = fine_tune(model_of(), TASK, TRAIN, DEV, chosen, tmp_path, regularizers=regularizers_of(ALL))
    for _ in range(3):
        next(stopped)
    stopped.close()  # after two epochs
    torch.manual_seed(99)
    resumed = model_of(seed=5)
    rows = list(fine_tune(resumed, TASK, TRAIN, DEV, chosen, tmp_path, resume=True, regularizers=regularizers_of(ALL)))
    assert torch.equal(weights(resumed), weights(unbroken))
    assert [{k: v for k, v in row.items() if k != "seconds"} for row in rows] == [
        {k: v for k, v in row.items() if k != "seconds"} for row in all_rows
    ]
    assert rows[1]["train_r-drop"] > 0 and not {"train_fgm", "train_ema"} & rows[1].keys()


def test_all_together_under_a_scaler_they_are_as_without_one(monkeypatch):
    """A scaler at work on the CPU, as fp16 has it on CUDA; with class weights, and steps in two parts."""
    results = []
    real = torch.amp.GradScaler
    for scaler in (real, lambda device, enabled: real("cpu", init_scale=2.0**10, enabled=True)):
        monkeypatch.setattr(torch.amp, "GradScaler", scaler)
        rows, _ = outcome(regularizers_of(ALL), select="last", accumulate=2, lr=1e-4)
        results.append(rows)
    for row, other in zip(*results, strict=True):
        for name in ("train_loss", "train_r-drop", "grad_norm", "dev_loss"):
            assert (row[name] or 0) == pytest.approx(other[name] or 0, rel=1e-3), name


def test_a_penalty_that_is_no_number_stops_the_run_by_name():
    class Broken(Regularizer):
        name = "broken"

        def penalty(self, output, batch):
            return output.logits.sum() * math.nan

    with pytest.raises(TrainingError, match="the penalty of broken became nan by step 7 of epoch 1"):
        outcome([Broken()])


def test_a_neutral_one_is_left_out_of_a_run_in_python_too():
    (rows, after), (plain, before) = outcome([RDrop(0.0), EMA(0.0)]), outcome([])
    assert rows == plain and torch.equal(after, before)


@pytest.mark.parametrize("description", ["r-drop", "fgm:epsilon=0.5", "ema:decay=0.9"])
def test_with_each_of_them_it_learns(description):
    train, dev = corpus(400), corpus(200, seed=1)
    run = fine_tune(
        model_of(),
        TASK,
        train,
        dev,
        settings(epochs=12, batch_size=16, lr=3e-3),
        regularizers=regularizers_of([description]),
    )
    assert max(row["dev_accuracy"] for row in run) > 0.85


def test_ones_own_is_the_example_of_the_document(tmp_path):
    text = (ROOT / "docs" / "regularizers.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(example.strip().splitlines()) <= 20
    (tmp_path / "mine.py").write_text(example, encoding="utf-8")
    place = f"{tmp_path / 'mine.py'}:ShortLogits"
    (mine,) = regularizers_of([f"{place}:weight=3"])
    assert isinstance(mine, Regularizer) and (mine.name, mine.weight) == ("short-logits", 3)
    rows, _ = outcome([mine])
    assert rows[-1]["train_short-logits"] > 0
    texts = random_texts(tiny(), [7] * 50, seed=9)
    lengths = []
    for weight in (0, 0.1, 3):
        model = model_of(**NO_DROPOUT)
        list(fine_tune(model, TASK, TRAIN, DEV, settings(), regularizers=regularizers_of([f"{place}:weight={weight}"])))
        lengths.append(float(predict(model, texts).norm()))
    assert lengths[0] > 1.02 * lengths[1] > 1.05 * lengths[2]
    assert regularizers_of([f"{place}:weight=0"]) == []


def test_the_document_tells_of_every_method_and_every_regularizer():
    text = (ROOT / "docs" / "regularizers.md").read_text(encoding="utf-8")
    methods = {name for name, value in vars(Regularizer).items() if callable(value) and not name.startswith("_")}
    assert set(re.findall(r"`(\w+)\([\w, ]*\)`", text)) == methods
    for name, kind in SHELF.items():
        (section,) = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
        said = " ".join(section.split())
        for key, value in inspect.signature(kind).parameters.items():
            key = {"epsilon": "ε", "gamma": "γ", "alpha": "α", "beta": "β", "eta": "η", "sigma": "σ"}.get(key, key)
            assert value.default == "" or re.search(rf"Defaults? .*\b{key} {value.default:g}(?!\d)", said), (name, key)
        assert f"(../{kind.__module__.removeprefix('tezukuri.').replace('.', '/')}.py)" in section


def test_the_japanese_document_explains_each_with_its_source():
    text = (ROOT / "docs" / "regularizers.ja.md").read_text(encoding="utf-8")
    for name in [*SHELF, "early stopping", "dropout", "greedy soup"]:
        (section,) = re.findall(rf"^## {name}（[^）]+）\n(.*?)(?=^## |^---|\Z)", text, re.DOTALL | re.MULTILINE)
        explained, source = section.split("出典：")
        assert len(re.findall(r"[぀-ヿ一-鿿]", explained)) >= 100 and re.search(r"(19|20)\d\d", source), name


def test_the_listing_has_a_line_for_each():
    lines = listing().splitlines()
    assert [re.split(r"[: ]", line)[0] for line in lines] == list(SHELF)
    assert lines[0].startswith("r-drop:weight=1 ") and "should say the same" in lines[0]


@pytest.mark.parametrize(
    ("descriptions", "message"),
    [
        (["dropblock"], "'dropblock' is not known; choose one of r-drop, label-smoothing, "),
        (["r-drop:alpha=1"], "has no setting 'alpha'; it has weight"),
        (["r-drop:weight=1,weight=2"], "is told weight twice: leave one out"),
        (["r-drop:weight=much"], "weight=much .* is not a number"),
        (["r-drop:weight=nan"], "weight=nan .* is not a finite number"),
        (["r-drop:weight=-1"], "the weight of r-drop is -1.0; it cannot be below 0"),
        (["fgm:epsilon=-1"], "the epsilon of fgm is"),
        (["ema:decay=1"], "the decay of ema is"),
        (["ema", "ema:decay=0.5"], "ema is asked for twice"),
        (["nowhere.py:Mine"], "cannot be had"),
        (["math:pi"], "is no Regularizer"),
    ],
)
def test_what_cannot_be_is_refused(descriptions, message):
    with pytest.raises(ValueError, match=message):
        regularizers_of(descriptions)


def test_every_name_is_its_own():
    assert all(kind.name == name == name.lower() for name, kind in SHELF.items()) and len(SHELF) == 27
