"""Regularizers of weights, gradients and rates: each against its formula, and all in the loop."""

import math
from itertools import pairwise

import pytest
import torch
from test_regularizers import batch, empty, interrupted, outcome, output_of
from test_train import DEV, NO_DROPOUT, TRAIN, corpus, model_of, settings, weights
from tiny import TASK
from torch import nn
from torch.nn import functional as F

from tezukuri.eval.predict import predict
from tezukuri.model.packing import pack
from tezukuri.train.loop import fine_tune
from tezukuri.train.optimizer import parameter_groups
from tezukuri.train.regularizers.awp import AWP
from tezukuri.train.regularizers.child_tuning import ChildTuning
from tezukuri.train.regularizers.fresh_top import FreshTop
from tezukuri.train.regularizers.gradual_unfreezing import GradualUnfreezing
from tezukuri.train.regularizers.l2_sp import L2SP
from tezukuri.train.regularizers.layer_decay import LayerDecay
from tezukuri.train.regularizers.lora import LoRA
from tezukuri.train.regularizers.mixout import Mixout
from tezukuri.train.regularizers.shelf import regularizers_of
from tezukuri.train.regularizers.swa import SWA
from tezukuri.train.seen_words import only_seen_words
from tezukuri.train.team import Team

MINE = [
    "mixout", "l2-sp", "layer-decay:decay=0.8", "fresh-top", "gradual-unfreezing", "child-tuning", "awp", "swa", "lora",
]  # fmt: skip
NEUTRAL = [
    "mixout:p=0", "l2-sp:alpha=0,beta=0", "layer-decay:decay=1", "fresh-top:layers=0", "gradual-unfreezing:until=0",
    "child-tuning:p=1", "awp:gamma=0", "swa:start=1", "lora:rank=0",
]  # fmt: skip
# As many as go together, so that what one keeps is there when another is resumed.
TOGETHER = [
    ["gradual-unfreezing", "mixout", "l2-sp", "layer-decay", "child-tuning", "awp", "swa", "r-drop"],
    ["swa", "lora", "layer-decay", "child-tuning", "awp", "fgm"],
    ["ema", "awp", "gradual-unfreezing", "fresh-top", "child-tuning", "fgm"],
]


def moved(model: nn.Module, by: float = 0.05) -> None:
    """Give every weight that is trained another value."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=by)


def structure(model: nn.Module) -> tuple:
    """What a saved file and an optimizer see of a model, in order."""
    parameters = [(name, id(p), p.requires_grad) for name, p in model.named_parameters()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    return list(model.state_dict()), parameters, [(n, type(m)) for n, m in model.named_modules()], hooks


def timeless(rows) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


# ---- Mixout


def test_mixout_shows_each_weight_as_the_formula_has_it():
    """Where m is 1 the formula gives (w⁰ - p w⁰) / (1 - p), else (w - p w⁰) / (1 - p); a share p of the first.

    All weights of a neuron below share their m, as in the authors' code.
    """
    model, p = model_of(), 0.7
    linear = model.bert.layers[1].up
    start = linear.weight.detach().clone()
    mixout = Mixout(p)
    mixout.begin(model, TRAIN, DEV)
    moved(model)
    weight = linear.parametrizations.weight.original.detach()
    mixed = (start - p * start) / (1 - p)
    kept = (weight - p * start) / (1 - p)
    model.train()
    seen = torch.stack([linear.weight.detach() for _ in range(200)])  # (200, F, H)
    is_mixed, is_kept = (torch.isclose(seen, value, rtol=1e-3, atol=1e-4) for value in (mixed, kept))
    assert (is_mixed | is_kept).all() and not torch.equal(seen[0], seen[1])
    of_neurons = is_mixed.all(dim=1)  # (200, H)
    assert torch.equal(is_mixed.float().mean(dim=1).round().bool(), of_neurons)
    assert float(of_neurons.float().mean()) == pytest.approx(p, abs=0.02)
    torch.testing.assert_close(seen.mean(dim=0), weight, rtol=0, atol=0.07)  # the mean stays w
    assert torch.equal(model.eval().bert.layers[1].up.weight, weight)


def test_mixout_mixes_the_linear_layers_of_encoder_and_pooler_alone():
    model = model_of()
    with Team([Mixout()]).at_work(model, TRAIN, DEV):
        found = {name.removesuffix(".parametrizations.weight.original") for name, _ in model.named_parameters()}
        found = {name for name in found if not name.endswith((".weight", ".bias"))}
    layers = [f"bert.layers.{i}.{part}" for i in (0, 1) for part in ("attention.qkv", "attention.output", "up", "down")]
    assert found == {*layers, "bert.pooler.dense"}


def test_mixout_at_the_start_is_the_model_itself():
    model = model_of(**NO_DROPOUT).train()
    packed = pack(TRAIN.encodings[:5])
    before = model(packed).logits
    with Team([Mixout(0.9)]).at_work(model, TRAIN, DEV):
        assert torch.equal(model(packed).logits, before)
        moved(model)
        assert not torch.equal(model(packed).logits, model(packed).logits)


# ---- L2-SP


def test_l2_sp_by_hand():
    """Two weights moved by 0.3 and -0.4: α / 2 · 0.25; a classifier of 99 numbers 0.1: β / 2 · 0.99."""
    model = model_of()
    l2_sp = L2SP(alpha=2.0, beta=3.0)
    l2_sp.begin(model, TRAIN, DEV)
    with torch.no_grad():
        model.bert.layers[0].up.weight[1, 2] += 0.3
        model.bert.embeddings.position.weight[3, 4] -= 0.4
        for parameter in model.classifier.parameters():
            parameter.fill_(0.1)
    found = l2_sp.penalty(output_of(torch.zeros(4, 3)), empty(4))
    assert float(found.detach()) == pytest.approx(0.25 + 1.5 * 0.99, rel=1e-5)
    found.backward()
    gradient = model.bert.layers[0].up.weight.grad
    assert float(gradient[1, 2]) == pytest.approx(0.6, rel=1e-5) and gradient.count_nonzero() == 1
    assert torch.allclose(model.classifier.weight.grad, torch.tensor(0.3))


def test_l2_sp_is_a_sum_of_alpha_and_beta_times_what_they_weigh():
    model = model_of()
    made = {pair: L2SP(*pair) for pair in [(1.0, 0.0), (0.0, 1.0), (0.5, 3.0)]}
    for l2_sp in made.values():
        l2_sp.begin(model, TRAIN, DEV)
    moved(model)
    one, other, both = (float(x.penalty(output_of(torch.zeros(2, 3)), empty(2)).detach()) for x in made.values())
    assert both == pytest.approx(0.5 * one + 3 * other, rel=1e-5) and min(one, other) > 0.1


def test_l2_sp_is_logged_the_same_however_a_step_is_cut():
    logged = []
    for parts in ({"batch_size": 8}, {"batch_size": 2, "accumulate": 4}):
        rows, _ = outcome([L2SP(0.5, 0.5)], model=NO_DROPOUT, select="last", **parts)
        logged.append(rows[2]["train_l2-sp"])
    assert logged[0] == pytest.approx(logged[1], rel=2e-3) and logged[0] > 0


def test_l2_sp_holds_the_weights_near_their_start():
    away = []
    for extra in ([], [L2SP(alpha=1.0)], [L2SP(alpha=100.0)]):
        model = model_of()
        start = torch.cat([p.detach().flatten() for p in model.bert.parameters()])
        list(fine_tune(model, TASK, TRAIN, DEV, settings(epochs=4, select="last"), regularizers=extra))
        away.append(float((torch.cat([p.detach().flatten() for p in model.bert.parameters()]) - start).norm()))
    assert away[0] > 1.1 * away[1] > 1.2 * away[2]


# ---- layer-decay


def test_layer_decay_by_hand():
    model = model_of()
    decay = LayerDecay(0.5)
    decay.begin(model, TRAIN, DEV)
    expected = {
        "classifier.weight": 1, "classifier.bias": 1, "bert.pooler.dense.weight": 1, "bert.layers.1.up.weight": 1 / 2,
        "bert.layers.1.norm.bias": 1 / 2, "bert.layers.0.attention.qkv.weight": 1 / 4,
        "bert.embeddings.word.weight": 1 / 8, "bert.embeddings.norm.weight": 1 / 8,
    }  # fmt: skip
    assert {name: decay.rate(name) for name in expected} == expected
    groups = parameter_groups(model, 0.01, decay.rate)
    assert {group["factor"] for group in groups} == {1, 1 / 2, 1 / 4, 1 / 8}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    changed, other = model_of(), LayerDecay(0.5)
    with Team([other, Mixout()]).at_work(changed, TRAIN, DEV):  # which gives weights other names
        assert other.rate("bert.layers.0.attention.qkv.parametrizations.weight.original") == 1 / 4


def test_layer_decay_counts_the_layers_of_a_deep_model():
    model = model_of(num_hidden_layers=12)
    decay = LayerDecay()
    decay.begin(model, TRAIN, DEV)
    assert decay.rate("bert.layers.11.norm.weight") == pytest.approx(0.95)
    assert decay.rate("bert.layers.0.norm.weight") == pytest.approx(0.95**12)
    assert decay.rate("bert.embeddings.word.weight") == pytest.approx(0.95**13)


def test_layer_decay_lets_lower_layers_move_less():
    """Adam's first step moves every weight by its rate, whatever the gradient."""
    model = model_of(**NO_DROPOUT)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    chosen = settings(epochs=1, batch_size=53, warmup_ratio=0.0, weight_decay=0.0, select="last", max_grad_norm=1e9)
    list(fine_tune(model, TASK, TRAIN, DEV, chosen, regularizers=[LayerDecay(0.5)]))
    for name, factor in (("classifier.weight", 1), ("bert.layers.1.up.weight", 1 / 2),
                         ("bert.layers.0.up.weight", 1 / 4), ("bert.embeddings.word.weight", 1 / 8)):  # fmt: skip
        step = (dict(model.named_parameters())[name].detach() - before[name]).abs().max()
        assert float(step) == pytest.approx(1e-3 * factor, rel=0.02), name


# ---- fresh-top


@pytest.mark.parametrize("layers", [1, 2])
def test_fresh_top_makes_pooler_and_top_layers_anew(layers):
    model = model_of(initializer_range=0.05, hidden_size=64, intermediate_size=256)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7.0)
    FreshTop(layers).begin(model, TRAIN, DEV)
    fresh = ("bert.pooler.", *(f"bert.layers.{i}." for i in range(2 - layers, 2)))
    for name, parameter in model.named_parameters():
        value = parameter.detach()
        if not name.startswith(fresh):
            assert (value == 7).all(), name
        elif name.endswith("bias"):
            assert (value == 0).all(), name
        elif "norm" in name:
            assert (value == 1).all(), name
        else:
            assert float(value.std()) == pytest.approx(0.05, rel=0.1) and abs(float(value.mean())) < 0.005, name


def test_more_fresh_layers_than_there_are_are_refused():
    with pytest.raises(ValueError, match="layers of fresh-top are 3, but the model has 2"):
        outcome([FreshTop(3)])


# ---- gradual unfreezing


def learning(model) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_gradual_unfreezing_by_hand():
    """Of two layers and the embeddings one more at each third of 0.6, until all learn."""
    model = model_of()
    model.bert.embeddings.segment.weight.requires_grad_(False)  # frozen by someone else, and left so
    names = {name for name, _ in model.named_parameters()} - {"bert.embeddings.segment.weight"}
    stages = ["bert.embeddings.", "bert.layers.0.", "bert.layers.1."]
    unfreezing = GradualUnfreezing(until=0.6)
    unfreezing.begin(model, TRAIN, DEV)
    for done, frozen in [(0.0, 3), (0.1, 3), (0.19, 3), (0.2, 2), (0.39, 2), (0.4, 1), (0.59, 1), (0.6, 0), (1.0, 0)]:
        if done:
            unfreezing.after_step(model, done)
        assert learning(model) == {name for name in names if not name.startswith(tuple(stages[:frozen]))}, done
    other = GradualUnfreezing(until=0.6)
    other.begin(model, TRAIN, DEV)
    unfreezing.after_step(model, 0.3)
    state = unfreezing.state()
    other.thaw(0)
    other.load_state(state)
    assert learning(model) == {name for name in names if not name.startswith(tuple(stages[:2]))}
    other.finish(model)
    assert learning(model) == names


def test_what_is_frozen_does_not_move_and_what_is_thawed_does():
    model = model_of()
    parts = {
        "embeddings": model.bert.embeddings, "0": model.bert.layers[0], "1": model.bert.layers[1],
        "pooler": model.bert.pooler,
    }  # fmt: skip
    chosen = settings(epochs=3, select="last")
    run = fine_tune(model, TASK, TRAIN, DEV, chosen, regularizers=[GradualUnfreezing(until=1.0)])
    states = [{name: weights(part) for name, part in parts.items()} for _ in run]  # after 0, 1, 2 and 3 epochs
    moves = [{name for name in parts if not torch.equal(one[name], other[name])} for one, other in pairwise(states)]
    assert moves == [{"pooler"}, {"pooler", "1"}, {"pooler", "1", "0"}]


# ---- Child-Tuning


def with_gradients(model) -> dict[str, torch.Tensor]:
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def test_child_tuning_leaves_a_share_p_of_every_gradient_and_makes_up_for_it():
    model = model_of(hidden_size=64)
    before = with_gradients(model)
    model.bert.embeddings.segment.weight.grad = None
    child = ChildTuning(p=0.25)
    child.begin(model, TRAIN, DEV)
    child.change_gradients(model)
    kept = []
    for name, parameter in model.named_parameters():
        if "segment" in name:
            assert parameter.grad is None
            continue
        rests = parameter.grad == 0
        torch.testing.assert_close(parameter.grad[~rests], 4 * before[name][~rests], rtol=1e-5, atol=0)
        kept.append(~rests.flatten())
    assert float(torch.cat(kept).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert 0 < float(kept[-2].float().mean()) < 0.5  # the classifier's weight is masked as all others


def test_child_tuning_at_a_p_that_is_almost_1_leaves_almost_all():
    model = model_of()
    with_gradients(model)
    child = ChildTuning(p=1 - 1e-7)
    child.begin(model, TRAIN, DEV)
    child.change_gradients(model)
    assert float(torch.cat([(p.grad == 0).flatten() for p in model.parameters()]).float().mean()) < 0.01


def test_child_tuning_draws_its_own_masks_and_the_same_in_every_process():
    """What a process draws elsewhere (dropout) does not matter; the next step's masks are others."""
    masks = []
    for draws in (0, 5):
        torch.manual_seed(3)
        model = model_of()
        child = ChildTuning()
        child.begin(model, TRAIN, DEV)
        for _ in range(2):
            with_gradients(model)
            torch.randn(draws)
            state = torch.get_rng_state()
            child.change_gradients(model)
            assert torch.equal(torch.get_rng_state(), state)
            masks.append(torch.cat([(p.grad != 0).flatten() for p in model.parameters()]))
    assert torch.equal(masks[0], masks[2]) and torch.equal(masks[1], masks[3]) and not torch.equal(masks[0], masks[1])


# ---- AWP


@pytest.mark.parametrize("earlier", [False, True])
def test_awp_by_brute_force(earlier):
    """Gradients become those of L(w) + L(w + v), v from this micro-batch alone, on top of an earlier one's."""
    model = model_of(**NO_DROPOUT).train()
    parts = [batch(range(5, 9)), batch(range(5))]

    def loss(part):
        return F.cross_entropy(model(pack(part.texts)).logits, part.targets)

    parameters = list(model.parameters())
    gradients = [torch.autograd.grad(loss(part), parameters) for part in parts]
    own = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p, g in zip(parameters, gradients[1], strict=True):
            if p.ndim == 2:
                p += 0.02 * p.norm() * g / g.norm()
    there = torch.autograd.grad(loss(parts[1]), parameters)
    with torch.no_grad():
        for p, value in zip(parameters, own, strict=True):
            p.copy_(value)

    awp = AWP(gamma=0.02)
    awp.begin(model, TRAIN, DEV)
    if earlier:
        loss(parts[0]).backward()
    awp.change_batch(parts[1])
    loss(parts[1]).backward()
    awp.second_pass(lambda: loss(parts[1]))
    for p, first, second, moved_there, value in zip(parameters, *gradients, there, own, strict=True):
        torch.testing.assert_close(p.grad, second + moved_there + (first if earlier else 0), rtol=1e-3, atol=2e-5)
        assert torch.equal(p, value)
    assert max(float((a - b).abs().max()) for a, b in zip(gradients[1], there, strict=True)) > 1e-3


def test_awp_puts_the_weights_back_bit_for_bit_also_when_the_pass_breaks_off():
    model = model_of().train()
    awp = AWP(gamma=0.1)
    awp.begin(model, TRAIN, DEV)
    own, before = weights(model), predict(model, DEV.encodings)
    awp.change_batch(batch(range(3)))
    model.train()(pack(batch(range(3)).texts)).logits.sum().backward()
    seen = []

    def broken():
        seen.append(weights(model))
        return interrupted()

    with pytest.raises(KeyboardInterrupt):
        awp.second_pass(broken)
    assert torch.equal(weights(model), own) and not torch.equal(seen[0], own)
    assert torch.equal(predict(model, DEV.encodings), before)


def test_awp_passes_over_what_does_not_learn_and_what_has_no_direction():
    model = model_of().train()
    awp = AWP(gamma=0.1)
    awp.begin(model, TRAIN, DEV)
    with_gradients(model)
    model.bert.layers[0].up.weight.grad = None
    model.bert.layers[0].down.weight.grad.zero_()
    own = {name: p.detach().clone() for name, p in model.named_parameters()}
    there = {}
    awp.before = {}
    with pytest.raises(KeyboardInterrupt):
        awp.second_pass(
            lambda: there.update((n, p.detach().clone()) for n, p in model.named_parameters()) or interrupted()
        )
    still = {name for name in own if torch.equal(own[name], there[name])}
    vectors = {name for name, value in own.items() if value.ndim == 1}
    assert still == vectors | {"bert.layers.0.up.weight", "bert.layers.0.down.weight"}
    for name in own.keys() - still:
        step = there[name] - own[name]
        assert float(step.norm() / own[name].norm()) == pytest.approx(0.1, rel=1e-3)


# ---- SWA


def test_swa_is_the_mean_of_the_later_weights():
    model = model_of()
    swa = SWA(start=0.4)
    swa.begin(model, TRAIN, DEV)
    later = []
    for n in range(1, 11):
        moved(model)
        swa.after_step(model, n / 10)
        later += [weights(model)] if n > 4 else []
        own = weights(model)
        with swa.evaluation(model):
            torch.testing.assert_close(weights(model), torch.stack(later or [own]).mean(dim=0), rtol=1e-4, atol=1e-5)
        assert torch.equal(weights(model), own)
    assert len(later) == 6


def test_swa_changes_what_is_looked_at_and_kept_and_not_how_it_is_trained():
    before, _ = outcome([], epochs=4, select="last")
    swa = SWA(start=0.5)
    model = model_of()
    rows = list(fine_tune(model, TASK, TRAIN, DEV, settings(epochs=4, select="last"), regularizers=[swa]))
    for row, other in zip(rows, before, strict=True):
        assert (row["train_loss"], row["grad_norm"]) == (other["train_loss"], other["grad_norm"])
        assert (row["dev_loss"] == other["dev_loss"]) == (row["epoch"] <= 2)
    assert torch.equal(weights(model), torch.cat([average.flatten() for average in swa.average]))


def test_an_interrupted_look_leaves_the_own_weights():
    model = model_of()
    swa = SWA(start=0.0)
    swa.begin(model, TRAIN, DEV)
    swa.after_step(model, 0.1)
    moved(model)
    own = weights(model)
    with pytest.raises(KeyboardInterrupt), swa.evaluation(model):
        interrupted()
    assert torch.equal(weights(model), own)


# ---- LoRA


def test_lora_begins_as_the_plain_model_and_ends_as_one():
    model = model_of()
    before = predict(model, DEV.encodings)
    names, own = list(model.state_dict()), weights(model)
    lora = LoRA(rank=3, alpha=6.0)
    lora.begin(model, TRAIN, DEV)
    assert torch.equal(predict(model, DEV.encodings), before)
    moved(model, by=0.1)
    low = model.bert.layers[1].attention.qkv.parametrizations.weight[0]
    a, b = low.a.detach().clone(), low.b.detach().clone()
    tuned = predict(model, DEV.encodings)
    lora.finish(model)
    assert list(model.state_dict()) == names and all(p.requires_grad for p in model.parameters())
    torch.testing.assert_close(predict(model, DEV.encodings), tuned, rtol=0, atol=0)
    assert not torch.allclose(tuned, before, atol=1e-2)

    plain = model_of()
    assert torch.equal(weights(plain), own)
    change = (model.bert.layers[1].attention.qkv.weight - plain.bert.layers[1].attention.qkv.weight).detach()
    for place, part in ((0, change[:32]), (1, change[64:])):  # α / r = 2
        for row, column in ((0, 0), (5, 31), (31, 2)):
            by_hand = 2 * sum(float(b[place, row, k]) * float(a[place, k, column]) for k in range(3))
            assert float(part[row, column]) == pytest.approx(by_hand, rel=1e-3, abs=1e-5)
        assert torch.linalg.matrix_rank(part, atol=1e-4) == 3
    assert (change[32:64] == 0).all()  # keys
    for (name, p), (_, q) in zip(model.named_parameters(), plain.named_parameters(), strict=True):
        same = not name.startswith(("classifier", "bert.pooler")) and not name.endswith("qkv.weight")
        assert torch.equal(p, q) == same, name


def test_lora_trains_its_own_matrices_and_the_head_alone():
    model = model_of()
    with Team([LoRA()]).at_work(model, TRAIN, DEV):
        low = {f"bert.layers.{i}.attention.qkv.parametrizations.weight.0.{x}" for i in (0, 1) for x in "ab"}
        head = {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}
        assert learning(model) == low | head
        assert sum(dict(model.named_parameters())[name].numel() for name in low) == 2 * 2 * (2 * 8 * 32)


# ---- in the loop


@pytest.mark.parametrize("neutral", NEUTRAL)
def test_at_its_neutral_setting_it_is_left_out(neutral):
    assert regularizers_of([neutral]) == []


def test_there_is_a_neutral_setting_of_each():
    assert [name.split(":")[0] for name in NEUTRAL] == [name.split(":")[0] for name in MINE]


@pytest.mark.parametrize(
    ("description", "message"),
    [("mixout:p=1", "the p of mixout is 1"), ("l2-sp:beta=-1", "the beta of l2-sp is -1"),
     ("layer-decay:decay=0", "the decay of layer-decay is 0"), ("layer-decay:decay=1.1", "the decay of layer-decay"),
     ("fresh-top:layers=-1", "the layers of fresh-top are -1"), ("gradual-unfreezing:until=2", "until of gradual-unf"),
     ("child-tuning:p=0", "the p of child-tuning is 0"), ("awp:gamma=-1", "the gamma of awp is -1"),
     ("swa:start=1.5", "the start of swa is 1.5"), ("lora:rank=-1", "the rank of lora is -1"),
     ("lora:alpha=0", "the alpha of lora is 0"), ("lora:rank=1.5", "rank=1.5 .* must be a whole number")],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(description, message):
    with pytest.raises(ValueError, match=message):
        regularizers_of([description])


@pytest.mark.parametrize("description", MINE)
def test_it_leaves_evaluation_and_the_model_as_they_were(description):
    """Before a step all is as without it (but for fresh-top); a run that breaks off leaves the model whole."""
    model = model_of()
    before, whole = predict(model, DEV.encodings), structure(model)
    run = fine_tune(model, TASK, TRAIN, DEV, settings(), regularizers=regularizers_of([description]))
    next(run)
    if description != "fresh-top":
        assert torch.equal(predict(model, DEV.encodings), before)
    run.close()
    assert structure(model) == whole
    if description != "fresh-top":
        assert torch.equal(predict(model, DEV.encodings), before)


@pytest.mark.parametrize("description", MINE)
def test_training_with_it_ends_with_a_plain_model_that_saw_the_kept_weights(description):
    model = model_of()
    whole = structure(model)
    with only_seen_words(model.bert, TRAIN.encodings):
        rows = list(fine_tune(model, TASK, TRAIN, DEV, settings(), regularizers=regularizers_of([description])))
    assert structure(model) == whole
    losses = [row["dev_loss"] for row in rows[1:]]
    logits = predict(model, DEV.encodings, precision=torch.float32)
    assert min(abs(float(F.cross_entropy(logits, torch.from_numpy(DEV.gold))) - loss) for loss in losses) < 1e-5


@pytest.mark.parametrize("amount", ["fp32", "bf16"])
@pytest.mark.parametrize("descriptions", [*([name] for name in MINE), *TOGETHER], ids="+".join)
def test_a_stopped_run_ends_as_the_unbroken_one_bit_for_bit(tmp_path, descriptions, amount):
    """Resumed on a model whose weights are others, so that nothing may depend on how they began."""
    chosen = settings(epochs=4, accumulate=2, select="best-loss", precision=amount)
    unbroken = model_of()
    all_rows = list(fine_tune(unbroken, TASK, TRAIN, DEV, chosen, regularizers=regularizers_of(descriptions)))
    for epochs in (1, 3):
        stopped = fine_tune(model_of(), TASK, TRAIN, DEV, chosen, tmp_path, regularizers=regularizers_of(descriptions))
        for _ in range(epochs + 1):
            next(stopped)
        stopped.close()
        torch.manual_seed(99)
        resumed = model_of(seed=5)
        again = regularizers_of(descriptions)
        rows = list(fine_tune(resumed, TASK, TRAIN, DEV, chosen, tmp_path, resume=True, regularizers=again))
        assert torch.equal(weights(resumed), weights(unbroken))
        assert timeless(rows) == timeless(all_rows)


@pytest.mark.parametrize("description", MINE)
def test_it_learns_with_accumulation_and_in_bf16(description):
    rate = 2e-2 if description == "lora" else 3e-3
    chosen = settings(epochs=10, batch_size=8, accumulate=2, lr=rate, precision="bf16")
    rows = list(fine_tune(model_of(), TASK, corpus(150), DEV, chosen, regularizers=regularizers_of([description])))
    losses = [row["train_loss"] for row in rows[1:]]
    assert all(map(math.isfinite, losses)) and losses[-1] < 0.8 * losses[0], losses


@pytest.mark.parametrize("description", MINE)
def test_under_a_scaler_it_is_as_without_one(monkeypatch, description):
    results = []
    real = torch.amp.GradScaler
    for scaler in (real, lambda device, enabled: real("cpu", init_scale=2.0**10, enabled=True)):
        monkeypatch.setattr(torch.amp, "GradScaler", scaler)
        results.append(outcome(regularizers_of([description]), select="last", accumulate=2, lr=1e-4)[0])
    for row, other in zip(*results, strict=True):
        for name in ("train_loss", "grad_norm", "dev_loss"):
            assert (row[name] or 0) == pytest.approx(other[name] or 0, rel=1e-3), name
