"""The training loop: what a step computes, what an epoch reports, and going on after a stop."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import transformers
from test_model_parity import KINDS, encoder, padded, texts_for, twins
from tiny import LABELS, TASK, classifier, random_texts, tiny
from torch._dynamo.exc import TorchDynamoException
from torch.utils._python_dispatch import TorchDispatchMode

from tezukuri.eval.predict import NotFiniteError, predict
from tezukuri.eval.tasks.classify import Classify
from tezukuri.eval.tasks.metrics import cross_entropy
from tezukuri.eval.tasks.score import Score
from tezukuri.model import precision
from tezukuri.model.model import Model, use_kernel
from tezukuri.model.packing import pack
from tezukuri.train import step as step_of_loop
from tezukuri.train.batch import Texts
from tezukuri.train.checkpoint import FILE
from tezukuri.train.finetune import finetune
from tezukuri.train.loop import Progress, TrainingError, chosen_epoch, fine_tune, out_of_patience
from tezukuri.train.optimizer import adamw, clip_gradients, learning_rate, parameter_groups
from tezukuri.train.plan import Plan
from tezukuri.train.regularizers.shelf import regularizers_of
from tezukuri.train.seen_words import only_seen_words
from tezukuri.train.settings import RECIPES, Settings, deviation
from tezukuri.train.textbook import published_for, told

CPU = torch.device("cpu")
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def corpus(n: int, seed: int = 0):
    """n random texts whose class is that of their second token, modulo 3: something to learn."""
    lengths = np.random.default_rng(seed).integers(3, 15, n)
    encodings = random_texts(tiny(), lengths, seed)
    return Texts(encodings, np.eye(3, dtype=np.float32)[[e.ids[1] % 3 for e in encodings]])


TRAIN, DEV = corpus(53), corpus(20, seed=1)


def model_of(seed: int = 0, **changes) -> Model:
    torch.manual_seed(seed)
    return classifier(**({"initializer_range": 0.1} | changes))


def settings(**changes) -> Settings:
    return Settings(**({"epochs": 2, "batch_size": 8, "lr": 1e-3, "precision": "fp32"} | changes))


def weights(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_every_parameter_is_in_one_group_and_only_matrices_decay():
    model = model_of()
    decay, keep = sorted(parameter_groups(model, 0.01), key=lambda group: -group["weight_decay"])
    names = {id(p): name for name, p in model.named_parameters()}
    kept = {names[id(p)] for p in keep["params"]}
    assert kept == {name for name in names.values() if name.endswith("bias") or "norm." in name}
    assert {names[id(p)] for p in decay["params"]} | kept == set(names.values())
    assert (decay["weight_decay"], keep["weight_decay"]) == (0.01, 0.0)
    assert sum(len(group["params"]) for group in (decay, keep)) == len(names)


def test_weight_decay_can_be_on_everything():
    (group,) = parameter_groups(model_of(), 0.01, decay_all=True)
    assert group["weight_decay"] == 0.01 and len(group["params"]) == len(list(model_of().parameters()))
    assert len(adamw(model_of(), settings(decay_all=True)).param_groups) == 1


@pytest.mark.parametrize(("ratio", "steps_of_warmup"), [(0.1, None), (0.0, None), (0.1, 30), (0.1, 500)])
def test_the_rate_is_that_of_the_usual_linear_schedule(ratio, steps_of_warmup):
    chosen = settings(lr=5e-5, warmup_ratio=ratio, warmup_steps=steps_of_warmup)
    warmup = steps_of_warmup if steps_of_warmup is not None else round(200 * ratio)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=5e-5)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, warmup, 200)
    for step in range(200):
        assert learning_rate(step, 200, chosen) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9, abs=1e-15)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(("warmup", "is_said"), [(14, True), (13, False)])
def test_a_warm_up_that_does_not_end_within_the_run_is_said(warmup, is_said, capsys):
    next(fine_tune(model_of(), TASK, TRAIN, DEV, settings(warmup_steps=warmup)))
    said = "note    the warm-up has 14 steps, and the run 14: the rate never reaches 0.001\n"
    assert capsys.readouterr().out == said * is_said


def test_twenty_steps_are_those_of_the_reference_model_in_a_loop_of_its_own():
    """Losses within 1e-5, step by step: same batches, AdamW, clipping at 1 and schedule, dropout off, fp32."""
    chosen = settings(epochs=3, select="last", weight_decay=0.1)
    ours, oracle = twins(classifier(**NO_DROPOUT))
    rows = list(fine_tune(ours, TASK, TRAIN, DEV, chosen))
    no_decay = [p for n, p in oracle.named_parameters() if n.endswith("bias") or "LayerNorm" in n]
    decay = [p for n, p in oracle.named_parameters() if not (n.endswith("bias") or "LayerNorm" in n)]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": no_decay, "weight_decay": 0.0}])
    steps_per_epoch = math.ceil(len(TRAIN.gold) / 8)
    oracle.train()
    for epoch in (1, 2, 3):
        order = np.random.default_rng([chosen.seed, epoch]).permutation(len(TRAIN.gold))
        total = 0.0
        for i in range(steps_per_epoch):
            batch = order[i * 8 : (i + 1) * 8]
            for group in optimizer.param_groups:
                group["lr"] = learning_rate((epoch - 1) * steps_per_epoch + i, 3 * steps_per_epoch, chosen)
            loss = oracle(**padded([TRAIN[0][j] for j in batch]), labels=torch.from_numpy(TRAIN.gold[batch])).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(oracle.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            total += float(loss.detach()) * len(batch)
        assert rows[epoch]["train_loss"] == pytest.approx(total / len(TRAIN.gold), abs=1e-5)
    assert rows[3]["train_loss"] < rows[1]["train_loss"]


@pytest.mark.parametrize(
    "extra", [[], ["class-balanced:beta=1"], ["label-smoothing:epsilon=0.1", "class-balanced:beta=1"]]
)
@pytest.mark.parametrize("parts", [(4, 2), (3, 3), (1, 8)])
def test_a_step_is_the_same_however_it_is_cut_into_micro_batches(parts, extra):
    """53 texts in steps of 8 or 9 leave a last short window; gradients and means do not notice the parts."""
    batch_size, accumulate = parts
    results = []
    for size, times in ((batch_size * accumulate, 1), parts):
        model = model_of(**NO_DROPOUT)
        chosen = settings(batch_size=size, accumulate=times, select="last")
        rows = list(fine_tune(model, TASK, TRAIN, DEV, chosen, regularizers=regularizers_of(extra)))
        # Of the weights, the biases of keys differ: their gradient is zero but for rounding, and Adam enlarges that.
        results.append((predict(model, DEV[0]), rows[-1]["train_loss"], rows[-1]["grad_norm"]))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-4, atol=2e-5)
    assert results[0][1:] == pytest.approx(results[1][1:], rel=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights_make_torchs_own_weighted_mean_and_smoothing_a_mean_weighted_by_the_own_class(smoothing):
    chosen = settings(epochs=1, batch_size=64, select="last")
    both = regularizers_of([f"label-smoothing:epsilon={smoothing}", "class-balanced:beta=1"])
    model = model_of(**NO_DROPOUT)
    logits, gold = predict(model, TRAIN[0]), torch.from_numpy(TRAIN.gold)
    weights = torch.tensor(53 / (3 * np.bincount(TRAIN.gold))).float()
    losses = torch.nn.functional.cross_entropy(logits, gold, label_smoothing=smoothing, reduction="none")
    expected = (weights[gold] * losses).sum() / weights[gold].sum()
    if not smoothing:
        assert float(expected) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, gold, weights)))
    rows = list(fine_tune(model, TASK, TRAIN, DEV, chosen, regularizers=both))
    assert rows[1]["train_loss"] == pytest.approx(float(expected), rel=1e-5)


def test_class_weights_with_smoothing_do_not_call_every_text_rare():
    """4 % of the texts are of the rare class. With a weight for each share, .05 · 12.5 of it beat .95 · .52."""
    encodings = random_texts(tiny(), np.random.default_rng(3).integers(3, 15, 300), 3)
    gold = np.array([int(i % 25 == 0) for i in range(300)])
    for encoding, label in zip(encodings, gold, strict=True):
        encoding.ids[1] = 5 + label
    texts = Texts(encodings, np.eye(2, dtype=np.float32)[gold])
    chosen = settings(epochs=8, batch_size=16, lr=3e-3, select="last")
    model = classifier(labels=("common", "rare"), initializer_range=0.1)
    both = regularizers_of(["label-smoothing", "class-balanced:beta=1"])
    rows = list(fine_tune(model, Classify(model.labels), texts, texts, chosen, regularizers=both))
    assert rows[-1]["dev_accuracy"] == 1


@KINDS
def test_dropout_acts_where_it_acts_in_the_reference(kind, monkeypatch):
    """Dropout replaced by a fixed change of size p in both models: every place of it shows in the logits."""

    def fixed(x, p=0.5, training=True, inplace=False):
        return x * (1 + p) if training else x

    for place in ("torch.nn.functional.dropout", "tezukuri.model.dropout.dropout", "tezukuri.model.attention.drop"):
        monkeypatch.setattr(place, fixed)
    rates = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.2, "classifier_dropout": 0.3}
    ours, oracle = twins(Model(encoder(kind, **rates), LABELS))
    use_kernel(ours, "eager")
    texts = texts_for(ours.config)
    plain, rows = ours(pack(texts)).logits, padded(texts, ours.config.pad_token_id)
    with torch.no_grad():
        mine, theirs = ours.train()(pack(texts)).logits, oracle.train()(**rows).logits
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(mine, plain, atol=0.05)


def test_gradients_are_unscaled_before_they_are_clipped(monkeypatch):
    """A scaler at work on the CPU, as fp16 has it on CUDA: the run is that without one."""
    results = []
    real = torch.amp.GradScaler
    for scaler in (real, lambda device, enabled: real("cpu", init_scale=2.0**10, enabled=True)):
        monkeypatch.setattr(torch.amp, "GradScaler", scaler)
        model = model_of(**NO_DROPOUT)
        rows = list(fine_tune(model, TASK, TRAIN, DEV, settings(select="last", max_grad_norm=0.5)))
        results.append((predict(model, DEV[0]), rows[-1]["grad_norm"]))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-4, atol=2e-5)
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-4)


@pytest.mark.parametrize("longest", [0.01, 1e9])
def test_gradients_cut_by_the_optimizer_make_the_same_step(longest):
    """Within 1e-4 of each number: torch's own cutting divides by the length and a millionth."""
    results = []
    for fold in (False, True):
        model = model_of()
        optimizer = adamw(model, settings(lr=0.01))
        for step in range(3):  # what is kept of a step is of the gradient that was cut
            torch.manual_seed(step)
            for p in model.parameters():
                p.grad = torch.randn_like(p)
            length = clip_gradients(model, optimizer, longest, fold)
            optimizer.step()
        moments = torch.cat([state["exp_avg_sq"].ravel() for state in optimizer.state.values()])
        results.append((length, weights(model), moments))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7 * float(one.abs().max()))
    assert float(length) > 1


def test_the_reported_losses_are_means_over_all_texts():
    """With a rate of almost zero the model stays as it is, so both losses can be computed from outside."""
    model = model_of(**NO_DROPOUT)
    expected = [cross_entropy(predict(model, split.encodings).numpy(), split.gold) for split in (TRAIN, DEV)]
    before, after = fine_tune(model, TASK, TRAIN, DEV, settings(epochs=1, lr=1e-30))
    assert after["train_loss"] == pytest.approx(expected[0], rel=1e-6)
    assert after["dev_loss"] == before["dev_loss"] == pytest.approx(expected[1], rel=1e-6)
    assert before["epoch"] == 0 and before["train_loss"] is None


def test_words_that_no_text_has_stay_aside_and_nothing_else_changes():
    few, results = corpus(8), {}
    for name in ("whole", "seen"):
        model = model_of()
        before = model.bert.embeddings.word.weight.detach().clone()
        with only_seen_words(model.bert, few[0]) if name == "seen" else nullcontext():
            rows = list(fine_tune(model, TASK, few, DEV, settings(select="last", weight_decay=0.5)))
        results[name] = rows, model
    (rows, model), (whole_rows, whole) = results["seen"], results["whole"]
    for row, other in zip(rows, whole_rows, strict=True):
        for key in ("train_loss", "grad_norm", "lr"):
            assert (row[key] or 0) == pytest.approx(other[key] or 0, rel=1e-4), key
        assert row["dev_loss"] == pytest.approx(other["dev_loss"], rel=0.01)  # decay shrank words that dev alone has
    assert model.state_dict().keys() == whole.state_dict().keys()
    seen = sorted({int(i) for text in few[0] for i in text.ids})
    unseen = sorted(set(range(len(before))) - set(seen))
    assert len(seen) > 10 and len(unseen) > 10 and any(int(i) in unseen for text in DEV[0] for i in text.ids)
    words, others = model.bert.embeddings.word.weight.detach(), whole.bert.embeddings.word.weight.detach()
    assert torch.equal(words[unseen], before[unseen]) and not torch.equal(others[unseen], before[unseen])
    torch.testing.assert_close(words[seen], others[seen], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(words[seen], before[seen], atol=1e-3)


def test_a_run_that_breaks_off_leaves_the_model_whole():
    model = model_of()
    whole = model.bert.embeddings.word
    with pytest.raises(KeyboardInterrupt), only_seen_words(model.bert, TRAIN[0]):
        next(run := fine_tune(model, TASK, TRAIN, DEV, settings()))
        next(run)
        raise KeyboardInterrupt
    assert model.bert.embeddings.word is whole and whole.weight.requires_grad


def test_it_learns():
    rows = list(
        fine_tune(model_of(), TASK, *(corpus(400), corpus(200, seed=1)), settings(epochs=12, batch_size=16, lr=3e-3))
    )
    assert rows[0]["dev_accuracy"] < 0.6 and max(row["dev_accuracy"] for row in rows) > 0.85


@pytest.mark.parametrize("select", ["best-f1", "last"])
@pytest.mark.parametrize("amount", ["fp32", "bf16"])
def test_a_stopped_run_ends_as_the_unbroken_one_bit_for_bit(tmp_path, select, amount):
    chosen = settings(epochs=4, accumulate=2, select=select, precision=amount)
    unbroken = model_of()
    all_rows = list(fine_tune(unbroken, TASK, TRAIN, DEV, chosen))
    stopped = fine_tune(model_of(), TASK, TRAIN, DEV, chosen, tmp_path)
    for _ in range(3):
        next(stopped)
    stopped.close()  # after two epochs
    torch.manual_seed(99)
    resumed = model_of(seed=5)
    rows = list(fine_tune(resumed, TASK, TRAIN, DEV, chosen, tmp_path, resume=True))
    assert torch.equal(weights(resumed), weights(unbroken))
    assert [{k: v for k, v in row.items() if k != "seconds"} for row in rows] == [
        {k: v for k, v in row.items() if k != "seconds"} for row in all_rows
    ]


def test_a_run_that_stops_in_the_middle_of_an_epoch_goes_on_after_the_last_whole_one(tmp_path, monkeypatch):
    chosen = settings(epochs=3, select="last")
    unbroken = model_of()
    list(fine_tune(unbroken, TASK, TRAIN, DEV, chosen))
    stopped = fine_tune(model_of(), TASK, TRAIN, DEV, chosen, tmp_path)
    next(stopped), next(stopped)
    with monkeypatch.context() as patch:
        calls = iter(range(3))
        patch.setattr(step_of_loop, "clip_gradients", lambda *a: (next(calls), clip_gradients(*a))[1])
        with pytest.raises(RuntimeError):  # the generator's own StopIteration, in the fourth step of epoch 2
            next(stopped)
    resumed = model_of(seed=5)
    list(fine_tune(resumed, TASK, TRAIN, DEV, chosen, tmp_path, resume=True))
    assert torch.equal(weights(resumed), weights(unbroken))


def test_a_checkpoint_that_is_missing_or_broken_is_told(tmp_path):
    with pytest.raises(ValueError, match=rf"has no {FILE}"):
        list(fine_tune(model_of(), TASK, TRAIN, DEV, settings(), tmp_path, resume=True))
    (tmp_path / FILE).write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"cannot be read.*start the run anew"):
        list(fine_tune(model_of(), TASK, TRAIN, DEV, settings(), tmp_path, resume=True))


def test_no_memory_for_a_checkpoint_says_nothing_against_it(tmp_path, monkeypatch):
    for _ in zip(range(2), fine_tune(model_of(), TASK, TRAIN, DEV, settings(), tmp_path), strict=False):
        pass

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.optim.AdamW, "load_state_dict", full)
    with pytest.raises(torch.OutOfMemoryError):
        list(fine_tune(model_of(), TASK, TRAIN, DEV, settings(), tmp_path, resume=True))


@pytest.mark.parametrize(
    ("select", "best"),
    [
        ("best-f1", lambda rows: max(rows, key=lambda r: (r["dev_f1"], -r["dev_loss"]))),
        ("best-accuracy", lambda rows: max(rows, key=lambda r: (r["dev_accuracy"], -r["dev_loss"]))),
        ("best-loss", lambda rows: min(rows, key=lambda r: r["dev_loss"])),
        ("last", lambda rows: rows[-1]),
    ],
)
def test_the_model_ends_with_the_weights_of_the_selected_epoch(select, best):
    model = model_of()
    rows = list(fine_tune(model, TASK, TRAIN, DEV, settings(epochs=6, lr=3e-3, select=select)))[1:]
    loss = cross_entropy(predict(model, DEV[0]).numpy(), DEV.gold)
    assert loss == pytest.approx(best(rows)["dev_loss"], rel=1e-6)


def test_patience_stops_a_run_that_no_longer_gets_better():
    def progress(losses):
        rows = [{"epoch": i, "dev_loss": loss, "dev_f1": -loss, "dev_accuracy": 0} for i, loss in enumerate(losses)]
        return Progress(epoch=len(losses) - 1, rows=rows)

    chosen = settings(patience=2, select="best-loss")
    assert not out_of_patience(progress([9, 3, 2, 4]), chosen, TASK)
    assert out_of_patience(progress([9, 3, 2, 4, 5]), chosen, TASK)
    assert not out_of_patience(progress([1, 3, 2.5]), chosen, TASK)  # epoch 0 is before training
    assert out_of_patience(progress([9, 3, 4, 5]), settings(patience=2, select="last"), TASK)
    assert not out_of_patience(progress([9, 3, 4, 5, 6, 7]), settings(patience=0, select="last"), TASK)
    rows = list(fine_tune(model_of(), TASK, TRAIN, DEV, settings(epochs=50, lr=1e-30, patience=3, select="best-loss")))
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4]


def test_patience_counts_on_after_a_stop(tmp_path):
    chosen = settings(epochs=50, lr=1e-30, patience=3, select="best-loss")
    stopped = fine_tune(model_of(), TASK, TRAIN, DEV, chosen, tmp_path)
    for _ in range(4):
        next(stopped)
    stopped.close()  # after epoch 3
    rows = list(fine_tune(model_of(), TASK, TRAIN, DEV, chosen, tmp_path, resume=True))
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4]


def test_of_equally_good_epochs_the_one_with_the_lower_loss_is_kept():
    rows = [
        {"epoch": i, "dev_f1": 0.25, "dev_accuracy": 0.6, "dev_loss": loss} for i, loss in enumerate([9, 0.9, 0.8, 0.8])
    ]
    assert chosen_epoch(rows, "best-f1", TASK) == 2 and chosen_epoch(rows, "last", TASK) == 3


def test_a_loss_that_is_no_number_stops_the_run_with_step_and_cause():
    model = model_of()
    only_in_train = {int(i) for e in TRAIN[0] for i in e.ids} - {int(i) for e in DEV[0] for i in e.ids}
    with torch.no_grad():
        model.bert.embeddings.word.weight[min(only_in_train)] = math.nan
    with pytest.raises(TrainingError, match=r"the loss is nan at step \d of epoch 1; likely the learning rate"):
        list(fine_tune(model, TASK, TRAIN, DEV, settings()))


def test_weights_broken_by_the_last_step_of_an_epoch_are_noticed_before_they_are_kept(tmp_path):
    chosen = settings(epochs=1, batch_size=64, lr=1e38, warmup_ratio=0.0)  # one step
    with pytest.raises(
        TrainingError, match=r"after the last step of epoch 1, the model's scores .* likely the learning"
    ):
        list(fine_tune(model_of(), TASK, TRAIN, DEV, chosen, tmp_path))
    assert not (tmp_path / FILE).exists()
    broken = model_of()
    with torch.no_grad():
        broken.classifier.bias.fill_(math.nan)
    with pytest.raises(NotFiniteError, match="for text 1 are no finite numbers"):
        predict(broken, DEV[0])


def test_a_run_is_repeated_by_its_seed():
    def run(seed):
        model = model_of(seed)
        list(fine_tune(model, TASK, TRAIN, DEV, settings(seed=seed)))
        return weights(model)

    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))


def test_looking_at_the_dev_split_draws_nothing_and_leaves_the_mode():
    model = model_of().train()
    state = torch.get_rng_state()
    first, second = predict(model, DEV[0], batch_size=7), predict(model, DEV[0], batch_size=20)
    assert torch.equal(state, torch.get_rng_state()) and model.training
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-5)
    assert predict(model, []).shape == (0, 3)
    alone = torch.cat([predict(model, [DEV[0][i]]) for i in range(len(DEV[0]))])  # sorted by length inside, put back
    torch.testing.assert_close(first, alone, rtol=1e-5, atol=1e-5)


def test_bf16_follows_fp32():
    """Within 0.02 in the loss of every epoch: bf16 has 8 bits, and these weights are wide."""
    losses = {}
    for amount in ("fp32", "bf16"):
        rows = list(fine_tune(model_of(**NO_DROPOUT), TASK, TRAIN, DEV, settings(precision=amount, lr=1e-4)))
        losses[amount] = [row["train_loss"] for row in rows[1:]]
    assert losses["fp32"] != losses["bf16"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], abs=0.02)


def test_weights_are_cast_once_for_all_batches_that_are_predicted_together():
    class Casts(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            casts.append(function is torch.ops.aten._to_copy.default and arguments[0].shape == shape)
            return function(*arguments, **(keywords or {}))

    model, casts = model_of(), []
    shape = model.bert.layers[0].up.weight.shape
    with Casts():
        predict(model, random_texts(model.config), batch_size=2, precision=torch.bfloat16)
    assert sum(casts) == model.config.num_hidden_layers


@pytest.mark.skipif(not torch.cuda.is_available(), reason="fp16 training runs on CUDA only")
def test_fp16_follows_fp32_on_cuda():
    losses = {}
    for amount in ("fp32", "fp16"):
        rows = list(fine_tune(model_of(**NO_DROPOUT).cuda(), TASK, TRAIN, DEV, settings(precision=amount, lr=1e-4)))
        losses[amount] = [row["train_loss"] for row in rows[1:]]
    assert losses["fp16"] == pytest.approx(losses["fp32"], abs=0.02)


@pytest.mark.parametrize("native", [True, False])
def test_auto_precision_never_emulates(monkeypatch, native):
    def supported(including_emulation):
        return native or including_emulation  # torch says that a T4 has bf16, when emulation counts

    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(precision, "cpu_multiplies_bf16", lambda: native)
    assert precision.choose_precision("auto", cuda) == (torch.bfloat16 if native else torch.float16)
    assert precision.choose_precision("auto", CPU) == (torch.bfloat16 if native else torch.float32)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(ValueError, match="there is no mps here"):
        precision.choose_device("mps")


def test_a_precision_that_the_device_has_no_use_for_is_refused():
    assert precision.choose_precision("fp16", torch.device("cuda")) == torch.float16
    with pytest.raises(ValueError, match="fp16 is for CUDA; on cpu choose bf16 or fp32"):
        precision.choose_precision("fp16", CPU)
    with pytest.raises(ValueError, match="'int8' is not known"):
        precision.choose_precision("int8", CPU)


def test_compile_trains_the_same_model(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model, dynamic: compiled.append(dynamic) or model)
    model = model_of()
    list(fine_tune(model, TASK, TRAIN, DEV, settings(compile=True)))
    plain = model_of()
    list(fine_tune(plain, TASK, TRAIN, DEV, settings()))
    assert compiled == [True] and torch.equal(weights(model), weights(plain))


def test_where_nothing_can_be_compiled_it_says_so_once_and_trains(monkeypatch, caplog):
    def fails(packed):
        raise TorchDynamoException("no compiler\nand a long story")

    monkeypatch.setattr(torch, "compile", lambda model, dynamic: fails)
    model = model_of()
    list(fine_tune(model, TASK, TRAIN, DEV, settings(compile=True)))
    plain = model_of()
    list(fine_tune(plain, TASK, TRAIN, DEV, settings()))
    assert torch.equal(weights(model), weights(plain))
    assert [record.getMessage() for record in caplog.records] == [
        "torch cannot compile the model here (no compiler): going on without"
    ]


def test_the_course_recipe_is_the_courses():
    course = RECIPES["course"]
    assert (course.epochs, course.batch_size, course.lr, course.warmup_steps) == (10, 16, 5e-5, 500)
    assert (course.weight_decay, course.max_length, course.select, course.accumulate) == (0.01, 128, "last", 1)
    assert (course.regularizers, course.max_grad_norm, course.precision) == ((), 1, "fp32")


@pytest.mark.parametrize(
    ("task", "pairs", "length", "lr", "epochs", "select"),
    [(Classify(LABELS), False, 512, 2e-5, 3, "best-accuracy"), (Classify(LABELS), True, 128, 2e-5, 3, "best-accuracy"),
     (Score(), True, 128, 2e-5, 3, "best")],
)  # fmt: skip
def test_the_textbooks_recipe_has_a_length_for_each_task(task, pairs, length, lr, epochs, select):
    task.pairs = pairs
    found = Plan(recipe="textbook", device="cpu").settings(task, hidden_size=384)
    assert (found.batch_size, found.weight_decay, found.warmup_ratio, found.regularizers) == (32, 0, 0.1, ())
    assert (found.max_length, found.lr, found.epochs, found.select) == (length, lr, epochs, select)
    assert found.precision == "auto", "fp16 is for GPUs"
    assert Plan(recipe="textbook", device="cpu", max_length=96, lr=1e-4).settings(task).max_length == 96


def test_the_recipe_for_livedoor_is_its_tutorials_but_for_the_weight_decay_of_vectors():
    task = Classify(LABELS)
    task.pairs = True
    found = Plan(recipe="hpprc").settings(task, hidden_size=384)
    assert (found.epochs, found.batch_size, found.lr, found.weight_decay, found.max_length) == (20, 16, 2e-5, 0.01, 512)
    assert (found.truncation, found.select, found.regularizers, found.precision) == ("only_second", "best", (), "auto")
    steps = -(-5895 // 16) * 20
    rates = [learning_rate(step, steps, found) for step in (369, 738, 739)]
    assert rates == pytest.approx([1e-5, 2e-5, 2e-5 * (1 - 1 / (steps - 738))]), "the warm-up is 2 of 20 epochs"
    model = model_of()
    model.classifier.weight.grad = torch.full_like(model.classifier.weight, 1e6)
    clip_gradients(model, adamw(model, found), found.max_grad_norm, in_step=False)
    assert model.classifier.weight.grad.min() == 1e6, "gradients are not clipped"
    assert "on matrices alone" in deviation("hpprc", found) and not deviation("default", found)
    original = Plan(recipe="hpprc", decay_all=True).settings(task)
    assert original.decay_all and not deviation("hpprc", original)
    task.pairs = False
    assert Plan(recipe="hpprc").settings(task).truncation == "longest_first", "a single text has no second one"


def test_the_textbooks_figures_stand_beside_the_result_of_their_data_only():
    assert published_for("jsts", 1457).endswith("the book gives pearson 0.9151, spearman 0.8777 for tohoku v3")
    assert (
        published_for("jsts", 40) == "not compared: the book's figures are of the 1,457 texts of dev, and here are 40"
    )
    assert published_for("wrime:view=writer", 2000) == published_for("sample", 450) == ""


def test_the_textbooks_settings_are_told_as_they_are():
    settings = Plan(recipe="textbook", device="cpu", accumulate=2).settings(Classify(["a", "b"]))
    assert told(settings) == (
        "3 epochs, batches of 64, rate 2e-05 (linear) after a warm-up of 10% of all steps, weight decay 0, at most 512 "
        "tokens, auto precision, epoch kept: best"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("batch_size", 0), ("lr", 0.0), ("lr", math.nan), ("lr", math.inf), ("warmup_steps", -5),
     ("seed", -1), ("precision", "int8"), ("truncation", "middle"), ("warmup_ratio", 1.0),
     ("patience", -1), ("select", "first"), ("max_grad_norm", 0.0)],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        settings(**{name: value})


def test_texts_and_labels_may_be_arrays(monkeypatch):
    monkeypatch.setattr("tezukuri.train.finetune.run_plan", lambda plan, given, *_: given)
    texts, labels = np.array([f"{i}階の部屋でした。" for i in range(20)]), np.array([0, 1] * 10)
    assert finetune(texts=texts, labels=labels).labels == ("0", "1")
