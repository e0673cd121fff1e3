"""Steps as CUDA graphs, with a stand-in for the recorder: it runs the recorded job again, on the place it was given."""

import numpy as np
import pytest
import torch
from test_train import DEV, NO_DROPOUT, TASK, TRAIN, model_of, settings, weights

from tezukuri.model.packing import pack
from tezukuri.train import graphs, step
from tezukuri.train.checkpoint import load_checkpoint, save_checkpoint
from tezukuri.train.loop import fine_tune
from tezukuri.train.optimizer import adamw, set_rate
from tezukuri.train.regularizers.shelf import regularizers_of
from tezukuri.train.team import Team

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def recorded(monkeypatch):
    """Jobs that were recorded."""
    jobs = []

    def record(job):
        results = {}
        jobs.append(job)
        return lambda: results.update(job()), results

    monkeypatch.setattr(graphs, "recorder", lambda: record)
    monkeypatch.setattr(step, "why_not", lambda *_: "")
    return jobs


def trained(names=(), folder=None, **changes):
    model = model_of(**NO_DROPOUT)
    rows = list(fine_tune(model, TASK, TRAIN, DEV, settings(**changes), folder, regularizers=regularizers_of(names)))
    return weights(model), rows


@pytest.mark.parametrize("names", [[], ["r-drop:weight=0.5", "ema"], ["label-smoothing", "focal", "layer-decay"]])
def test_replayed_steps_train_the_same_model(names, recorded):
    (plain, rows), (replayed, again) = trained(names), trained(names, graphs=True)
    torch.testing.assert_close(replayed, plain, rtol=1e-3, atol=5e-4)
    assert 1 <= len(recorded) <= 4  # of 14 steps: batches have few sizes, and the first of each size is not recorded
    for before, after in zip(rows[1:], again[1:], strict=True):
        assert {**after, "seconds": 0} == pytest.approx({**before, "seconds": 0}, rel=1e-3, abs=1e-4)


def test_replayed_steps_in_bf16_are_as_near_to_fp32_as_autocast(recorded):
    fp32, plain, replayed = (
        trained(precision=precision, graphs=graphs, epochs=1)[1][1]
        for precision, graphs in (("fp32", False), ("bf16", False), ("bf16", True))
    )
    far, own = (abs(row["train_loss"] - fp32["train_loss"]) for row in (plain, replayed))
    assert 0 < own < 3 * far + 1e-4 and recorded
    assert replayed["grad_norm"] == pytest.approx(fp32["grad_norm"], rel=0.02)


def test_halves_give_their_gradients_to_the_weights_and_leave_the_model_as_it_was():
    model = model_of(**NO_DROPOUT)
    own = dict(model.named_parameters())
    packed = pack(TRAIN.encodings[:8])
    with torch.autocast("cpu", torch.bfloat16):
        model(packed).logits.float().square().sum().backward()
    expected = {name: p.grad.clone() for name, p in own.items()}
    model.zero_grad()
    with graphs.Halves(model, torch.bfloat16).at_work(), torch.autocast("cpu", torch.bfloat16):
        assert model.bert.layers[0].up.weight.dtype == model.classifier.bias.dtype == torch.bfloat16
        model(packed).logits.float().square().sum().backward()
    assert all(p is own[name] for name, p in model.named_parameters())
    for name, p in own.items():
        torch.testing.assert_close(
            p.grad, expected[name], rtol=0.02, atol=1e-4 * float(expected[name].abs().max()) + 1e-6
        )


def test_halves_leave_frozen_weights_alone():
    model = model_of(**NO_DROPOUT)
    model.bert.requires_grad_(False)
    with graphs.Halves(model, torch.bfloat16).at_work(), torch.autocast("cpu", torch.bfloat16):
        model(pack(TRAIN.encodings[:8])).logits.float().square().sum().backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None}
    assert moved == {"classifier.weight", "classifier.bias"}


def test_a_replayed_run_goes_on_from_a_checkpoint(recorded, tmp_path):
    (tmp_path / "cut").mkdir()
    whole, rows = trained(graphs=True, folder=tmp_path)
    model = model_of(**NO_DROPOUT)
    stopped = fine_tune(model, TASK, TRAIN, DEV, settings(graphs=True), tmp_path / "cut")
    next(stopped), next(stopped)
    stopped.close()
    again = model_of(seed=5, **NO_DROPOUT)
    resumed = list(fine_tune(again, TASK, TRAIN, DEV, settings(graphs=True), tmp_path / "cut", resume=True))
    torch.testing.assert_close(weights(again), whole, rtol=1e-3, atol=5e-4)
    assert resumed[-1]["train_loss"] == pytest.approx(rows[-1]["train_loss"], rel=1e-4)


@pytest.mark.parametrize("now", [True, False])
def test_a_run_goes_on_with_graphs_or_without_whatever_it_began_with(now, tmp_path):
    chosen, scaler = settings(lr=1.0), torch.amp.GradScaler("cpu", enabled=False)
    model = model_of(**NO_DROPOUT)
    before, after = (adamw(model, chosen, graphs=g) for g in (not now, now))
    model(pack(TRAIN.encodings[:8])).logits.square().sum().backward()
    set_rate(before, 0.25)
    before.step()
    save_checkpoint(tmp_path, {}, model, [before], scaler)
    load_checkpoint(tmp_path, model, [after], scaler)
    set_rate(after, 0.5)
    assert len(after.state) == len(before.state) > 0
    for group in after.param_groups:
        assert group["capturable"] == isinstance(group["lr"], torch.Tensor) == now and group["lr"] == 0.5


def test_more_sizes_than_graphs_run_without(recorded, monkeypatch):
    monkeypatch.setattr(graphs, "MOST", 1)
    monkeypatch.setattr(step, "even_sizes", lambda *_: (1, 24))  # a size for every number of tokens
    plain, replayed = trained()[0], trained(graphs=True)[0]
    torch.testing.assert_close(replayed, plain, rtol=1e-3, atol=5e-4)
    assert len(recorded) == 1  # of three without the limit


def test_even_batches_have_few_sizes_and_the_same_logits():
    model = model_of(max_position_embeddings=40).eval()
    even = graphs.even_sizes(TRAIN.encodings, 40)
    assert even == (40, 40) and graphs.even_sizes(TRAIN.encodings, 512) == (128, 128)
    sizes = set()
    for start in range(0, 48, 8):
        texts = TRAIN.encodings[start : start + 8]
        packed = pack(texts, even=even)
        assert len(packed.ids) % 40 == 0 and len(packed) == 8 and packed.fillers == 1 and packed.longest == 40
        sizes.add(len(packed.ids))
        torch.testing.assert_close(model(packed).logits, model(pack(texts)).logits, rtol=1e-5, atol=1e-5)
    assert len(sizes) <= 3
    torch.testing.assert_close(
        model(pack(TRAIN.encodings[:8], even=(4, 4))).logits, model(pack(TRAIN.encodings[:8])).logits
    )
    whole = [type(TRAIN.encodings[0])(ids=np.ones(40, dtype=int), type_ids=np.zeros(40, dtype=int))]
    assert len(pack(whole, even=even).ids) == 80  # a sequence of [PAD] in each batch, also in a full one


@pytest.mark.parametrize(
    ("device", "precision", "names", "changes", "why"),
    [
        (CPU, torch.float32, [], {}, "they are CUDA's, and this is cpu"),
        (CUDA, torch.float16, [], {}, "the scaler of fp16 decides"),
        (CUDA, torch.bfloat16, [], {"accumulate": 2}, "a step is more than one batch of one process"),
        (CUDA, torch.bfloat16, ["fgm", "r-drop", "layer-drop"], {}, "fgm, layer-drop may do something else"),
        (CUDA, torch.bfloat16, ["r-drop", "judge-votes", "swa"], {}, ""),
    ],
)
def test_it_says_why_steps_are_not_replayed(device, precision, names, changes, why):
    found = graphs.why_not(settings(**changes), device, precision, Team(regularizers_of(names)))
    assert found.startswith(why) and bool(found) == bool(why)


def test_without_a_gpu_it_goes_on_and_says_so(caplog):
    plain, asked = trained(epochs=1)[0], trained(epochs=1, graphs=True)[0]
    assert torch.equal(plain, asked)
    assert [record.message for record in caplog.records] == [
        "steps cannot be replayed as CUDA graphs (they are CUDA's, and this is cpu): going on without"
    ]
