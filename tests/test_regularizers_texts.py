"""Regularizers that change texts, targets, losses or passes: each against its formula, and all in the loop."""

import inspect
import math
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from test_regularizers import batch, empty, interrupted, output_of
from test_train import DEV, NO_DROPOUT, TRAIN, corpus, model_of, settings, weights
from tiny import TASK, classifier, random_texts, tiny
from tiny_checkpoint import SIZES, TEXTS, TOKENIZER
from torch.nn import functional as F

from tezukuri.eval.predict import predict
from tezukuri.eval.tasks.metrics import measure
from tezukuri.model.bert import Bert, BertConfig, Layer
from tezukuri.model.model import Model
from tezukuri.model.packing import Output, pack
from tezukuri.tokenize.encoding import EncodedText
from tezukuri.train.loop import fine_tune
from tezukuri.train.regularizers.distillation import Distillation
from tezukuri.train.regularizers.fgm import FGM
from tezukuri.train.regularizers.focal import Focal
from tezukuri.train.regularizers.freelb import FreeLB
from tezukuri.train.regularizers.hidden_mixup import HiddenMixup
from tezukuri.train.regularizers.judge_votes import JudgeVotes
from tezukuri.train.regularizers.label_smoothing import LabelSmoothing
from tezukuri.train.regularizers.layer_drop import LayerDrop
from tezukuri.train.regularizers.multi_sample_dropout import MultiSampleDropout
from tezukuri.train.regularizers.r_drop import RDrop
from tezukuri.train.regularizers.shelf import SHELF, regularizer_of, regularizers_of
from tezukuri.train.regularizers.simcse import SimCSE
from tezukuri.train.regularizers.smart import SMART
from tezukuri.train.regularizers.supcon import SupCon
from tezukuri.train.regularizers.temperature import Temperature, best_temperature
from tezukuri.train.regularizers.word_dropout import WordDropout
from tezukuri.train.regularizers.word_noise import WordNoise
from tezukuri.train.seen_words import only_seen_words
from tezukuri.train.team import Team
from tezukuri.weights.save import save

LABELS = ("a", "b", "c")
VOTES = np.random.default_rng(3).integers(0, 4, (len(TRAIN.gold), 3))
VOTES[0] = 0  # a text that nobody judged
SENTENCES = [TEXTS[i % 4] * (1 + i % 3) for i in range(len(TRAIN.gold))]
RICH = TRAIN._replace(sentences=SENTENCES, votes=VOTES)  # the training texts with all that the data may tell

OURS = [
    "focal", "judge-votes", "distillation", "hidden-mixup", "multi-sample-dropout", "layer-drop:p=0.3", "word-dropout",
    "word-noise", "supcon", "simcse", "smart", "freelb", "temperature",
]  # fmt: skip


def save_teacher(folder, labels=LABELS):
    torch.manual_seed(8)
    model = Model(Bert(BertConfig(**(SIZES | {"max_position_embeddings": 16}))), labels).eval()
    save(model, TOKENIZER, folder)
    return model


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "model"
    return folder, save_teacher(folder)


def made(description: str, teacher):
    """One of OURS, the teacher put in where it is needed."""
    if description == "distillation":
        description += f":teacher={teacher[0]}"
    return regularizer_of(description)


def loss_of(logits, targets, *regularizers) -> torch.Tensor:
    """The summed loss of a micro-batch: that of the head, unless a regularizer has its own."""
    return (Team(regularizers).own_loss or classifier().classifier.loss)(logits.float(), targets).sum()


def one_step(model, regularizer, rows=range(5)):
    """What the loop does with a micro-batch, up to the gradients: the loss that counts."""
    some = batch(rows)
    changed = regularizer.change_batch(some)
    packed = pack(changed.texts)

    def task(portion=1.0):
        return portion * loss_of(model(packed).logits, changed.targets, regularizer) / len(changed.targets)

    output = model(packed)
    loss = regularizer.first_share * loss_of(output.logits, changed.targets, regularizer) / len(changed.targets)
    penalty = regularizer.penalty(output, changed)
    (loss if penalty is None else loss + penalty).backward()
    regularizer.second_pass(task)
    return loss.detach()


def gradients(model) -> torch.Tensor:
    found = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters()])
    model.zero_grad()
    return found


def pooled(vectors: torch.Tensor) -> Output:
    return Output(hidden=vectors, pooled=vectors)


# ---- focal


def test_focal_by_hand():
    """Probabilities 3/4 and 1/4, targets 9/10 and 1/10; then two classes and a certain target."""
    logits, targets = torch.tensor([[0.75, 0.25], [0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1], [0.0, 1.0]])
    expected = [(1 / 16) * (0.9 * math.log(4 / 3) + 0.1 * math.log(4)), math.log(2) / 4]
    assert Focal(gamma=2).loss(logits, targets).tolist() == pytest.approx(expected, rel=1e-5)
    assert float(loss_of(logits, targets, Focal(gamma=2))) == pytest.approx(sum(expected), rel=1e-5)
    assert float(Focal(gamma=0).loss(logits, targets).sum()) == pytest.approx(float(loss_of(logits, targets)))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_has_finite_gradients_where_the_model_is_certain(gamma):
    logits = torch.tensor([[90.0, 0.0], [0.0, 90.0]], requires_grad=True)
    Focal(gamma).loss(logits, torch.tensor([[1.0, 0.0], [1.0, 0.0]])).sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[1, 0] == pytest.approx(-1, rel=1e-4)  # quite wrong: the gradient of cross-entropy


# ---- judges' votes


def test_judge_votes_by_hand():
    texts = TRAIN._replace(votes=np.array([[0, 0, 0], [1, 2, 0], [0, 0, 5]]))
    regularizer = JudgeVotes(weight=0.25)
    regularizer.begin(model_of(), texts, DEV)
    some = batch([1, 0, 2])
    some = MultiSampleDropout(2).change_batch(some)
    label = F.one_hot(some.classes, 3).float()
    found = regularizer.change_batch(some).targets
    expected = [
        0.75 * label[0] + 0.25 * torch.tensor([1 / 3, 2 / 3, 0]),
        label[1],  # no votes
        0.75 * label[2] + 0.25 * torch.tensor([0.0, 0.0, 1.0]),
    ]
    torch.testing.assert_close(found, torch.stack(expected).repeat_interleave(2, dim=0))


def test_votes_take_the_place_of_labels_and_are_smoothed_after_it():
    votes, smoothing = JudgeVotes(), LabelSmoothing(0.3)
    votes.begin(model_of(), RICH, DEV)
    found = smoothing.change_batch(votes.change_batch(batch([4]))).targets[0]
    assert found.tolist() == pytest.approx((0.7 * VOTES[4] / VOTES[4].sum() + 0.1).tolist())


def test_judge_votes_wants_votes():
    with pytest.raises(ValueError, match="jrte and sample have"):
        JudgeVotes().begin(model_of(), TRAIN, DEV)


# ---- distillation


def test_distillation_by_hand():
    """KL of (1/2, 1/2) to (3/4, 1/4), both at the temperature: log 2 - log 3 / 2 as in R-Drop's case."""
    regularizer = Distillation(temperature=3.0, weight=2.0)
    regularizer.teaches = torch.tensor([[0.3, 0.7], [0.5, 0.5]]).log()
    regularizer.apart = classifier().classifier.apart
    student = 3 * torch.tensor([[0.75, 0.25]]).log()
    some = empty(2)
    second = type(some)([], some.rows[1:], some.classes[1:], some.targets[1:, :2])
    found = regularizer.penalty(output_of(student), second)
    assert float(found) == pytest.approx(2 * 9 * (math.log(2) - math.log(3) / 2), rel=1e-5)


def test_distillation_asks_the_teacher_in_its_own_words(teacher):
    folder, model = teacher
    regularizer = Distillation(teacher=str(folder), temperature=2.0)
    student = model_of(**NO_DROPOUT)
    before = torch.get_rng_state()
    regularizer.begin(student, RICH, DEV)
    assert torch.equal(torch.get_rng_state(), before)
    for row in (0, 7, 52):
        encoded = TOKENIZER.encode_batch([SENTENCES[row]], max_length=16)
        with torch.no_grad():
            logits = model(pack([encoded[0]])).logits[0]
        torch.testing.assert_close(regularizer.teaches[row], logits / 2, rtol=1e-4, atol=1e-5)
    some = batch([7, 52])
    once = regularizer.penalty(student(pack(some.texts)), some)
    twice = some.twice()
    torch.testing.assert_close(regularizer.penalty(student(pack(twice.texts)), twice), once)
    q = (student(pack(some.texts)).logits / 2).softmax(dim=-1)
    p = regularizer.teaches[[7, 52]].softmax(dim=-1)
    torch.testing.assert_close(once, 4 * (p * (p / q).log()).sum() / 2)


def test_distillation_says_what_it_lacks(teacher, tmp_path):
    folder = str(teacher[0])
    with pytest.raises(ValueError, match="distillation:teacher=FOLDER"):
        Distillation().begin(model_of(), RICH, DEV)
    with pytest.raises(ValueError, match="needs the sentences"):
        Distillation(folder).begin(model_of(), TRAIN, DEV)
    save_teacher(tmp_path / "other", ("b", "a", "c"))
    with pytest.raises(ValueError, match=r"tells b, a, c apart, and the model a, b, c"):
        Distillation(str(tmp_path / "other")).begin(model_of(), RICH, DEV)


# ---- hidden mixup


def test_hidden_mixup_by_hand():
    model = model_of(**NO_DROPOUT).train()
    mixup, samples = HiddenMixup(alpha=2.0), MultiSampleDropout(2)
    some = batch(range(5))
    vectors = model(pack(some.texts)).pooled
    mixup.begin(model, TRAIN, DEV)
    samples.begin(model, TRAIN, DEV)
    changed = mixup.change_batch(samples.change_batch(some))
    kept, partner = float(mixup.kept), mixup.partner.tolist()
    assert sorted(partner) == [0, 1, 2, 3, 4] and 0 < kept < 1
    for _ in range(2):  # a second pass blends alike
        logits = model(pack(some.texts)).logits
        for i, j in enumerate(partner):
            blend = model.classifier(kept * vectors[i] + (1 - kept) * vectors[j])
            torch.testing.assert_close(logits[2 * i : 2 * i + 2], torch.stack([blend, blend]))
            target = kept * some.targets[i] + (1 - kept) * some.targets[j]
            torch.testing.assert_close(changed.targets[2 * i : 2 * i + 2], torch.stack([target, target]))
    assert mixup.first_share == 1.0  # of the loss, in the loop


def test_hidden_mixup_draws_from_beta():
    mixup = HiddenMixup(alpha=0.5)
    draws = torch.stack([(mixup.change_batch(batch([0])), mixup.kept)[1] for _ in range(4000)])
    assert float(draws.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(draws.var()) == pytest.approx(1 / 8, abs=0.01)  # 1 / (4 (2 α + 1))


# ---- multi-sample dropout


def test_multi_sample_dropout_is_the_mean_over_masks():
    model = model_of(**NO_DROPOUT | {"classifier_dropout": 0.5}).train()
    samples = MultiSampleDropout(3)
    samples.begin(model, TRAIN, DEV)
    some = batch(range(4))
    changed = samples.change_batch(some)
    assert (len(changed.texts), len(changed.rows), len(changed.targets)) == (4, 4, 12)
    masks = []
    hook = model.dropout.register_forward_hook(lambda m, i, out: masks.append((out / i[0]).detach()))
    output = model(pack(changed.texts))
    found = loss_of(output.logits, changed.targets) / len(changed.targets)
    hook.remove()
    losses = [
        F.cross_entropy(model.classifier(output.pooled[i] * masks[0][3 * i + j]), some.classes[i])
        for i in range(4)
        for j in range(3)
    ]
    torch.testing.assert_close(found, torch.stack(losses).mean(), rtol=1e-4, atol=1e-5)
    assert not torch.equal(masks[0][0], masks[0][1])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_r_drop_still_pairs_what_belongs_together(order):
    """Without dropout, both copies of a text say the same, in whatever order the two are given."""
    model = model_of(**NO_DROPOUT).train()
    samples, r_drop = MultiSampleDropout(3), RDrop()
    r_drop.begin(model_of(), TRAIN, DEV)
    samples.begin(model, TRAIN, DEV)
    changed = batch(range(5))
    for i in order:
        changed = (samples, r_drop)[i].change_batch(changed)
    output = model(pack(changed.texts))
    assert output.logits.shape == (30, 3)
    assert torch.equal(changed.targets.argmax(dim=1), changed.spread(changed.classes))
    assert float(r_drop.penalty(output, changed).detach()) == pytest.approx(0, abs=1e-6)


# ---- layer drop


def test_layer_drop_really_skips(monkeypatch):
    model = model_of(**NO_DROPOUT).train()
    packed = pack(random_texts(tiny()))
    plain, embedded = model.bert(packed).hidden, model.bert.embeddings(packed)
    last_alone, _ = model.bert.layers[1](embedded, packed)
    drop = LayerDrop(p=0.5)
    drop.begin(model, TRAIN, DEV)
    calls = []
    real = Layer.forward
    monkeypatch.setattr(Layer, "forward", lambda self, *rest: calls.append(self) or real(self, *rest))
    for left_out, expected in (
        ([False, False], plain),
        ([True, False], last_alone),
        ([True, True], embedded),
    ):
        drop.left_out = left_out
        calls.clear()
        assert torch.equal(model.bert(packed).hidden, expected)
        assert len(calls) == left_out.count(False)
    model.eval()
    assert torch.equal(model.bert(packed).hidden, plain)  # evaluation has all layers
    model.train()
    drop.finish(model)
    assert torch.equal(model.bert(packed).hidden, plain)
    assert all("forward" not in vars(layer) for layer in model.bert.layers)


def test_layer_drop_leaves_out_the_share_p():
    drop = LayerDrop(p=0.3)
    drop.left_out = [False] * 4
    total = sum(sum((drop.change_batch(batch([0])), drop.left_out)[1]) for _ in range(2000))
    assert total / 8000 == pytest.approx(0.3, abs=0.02)


# ---- word dropout


@pytest.mark.parametrize("seen_only", [False, True])
def test_word_dropout_zeroes_words_between_the_ends(seen_only):
    model = model_of(**NO_DROPOUT).train()
    packed = pack(random_texts(tiny(), [16] * 200 + [1, 2, 2, 1]))
    plain = model.bert.embeddings.word(packed.ids).detach()
    texts = random_texts(tiny(), [20], seed=4)
    with only_seen_words(model.bert, texts) if seen_only else torch.enable_grad():
        drop = WordDropout(p=0.25)
        drop.begin(model, TRAIN, DEV)
        seen = []
        model.bert.embeddings.word.register_forward_hook(lambda m, i, out: seen.append(out.detach()))
        model(packed)
        ends = {*packed.first.tolist(), *(packed.boundaries[1:] - 1).tolist()}
        hidden = (seen[0] == 0).all(dim=1)
        assert not hidden[sorted(ends)].any()
        assert torch.equal(seen[0][~hidden], plain[~hidden])
        assert float(hidden.sum()) / (len(plain) - len(ends)) == pytest.approx(0.25, abs=0.03)
        model.eval()(packed)
        assert torch.equal(seen[1], plain)
        drop.finish(model)
        model.train()(packed)
        assert torch.equal(seen[2], plain)
        assert not model.bert.embeddings._forward_pre_hooks and len(model.bert.embeddings.word._forward_hooks) == 1


# ---- word noise


def text_of(n: int) -> EncodedText:
    return EncodedText(np.arange(n), np.arange(n) % 2)


def test_word_noise_deletes_the_share_alpha_and_keeps_the_ends():
    noise = WordNoise(alpha=0.2)
    left = []
    for _ in range(300):
        found = noise.noisy(text_of(32))
        ids = found.ids.tolist()
        assert (ids[0], ids[-1]) == (0, 31) and len(set(ids)) == len(ids) and set(ids) <= set(range(32))
        assert found.type_ids.tolist() == [i % 2 for i in ids]
        left.append(len(ids) - 2)
    assert np.mean(left) == pytest.approx(0.8 * 30, abs=0.5)


def test_word_noise_swaps_neighbours(monkeypatch):
    """With nothing deleted, 4 swaps of neighbours leave an even number of pairs in the wrong order, at most 4."""
    monkeypatch.setattr(torch, "rand", torch.ones)
    found = [WordNoise(alpha=0.2).noisy(text_of(22)).ids.tolist() for _ in range(200)]
    wrong = [sum(a > b for a, b in combinations(ids, 2)) for ids in found]
    assert {sorted(ids) == list(range(22)) for ids in found} == {True}
    assert set(wrong) <= {0, 2, 4} and wrong.count(4) > 100
    first = {next(a for a, b in pairwise(ids) if a > b) for ids in found if ids != sorted(ids)}
    assert {0, 21}.isdisjoint(first) and {2, 20} <= {a for ids in found for a, b in pairwise(ids) if a > b}


def test_word_noise_never_empties_a_text():
    noise = WordNoise(alpha=0.99)
    for n in (1, 2, 3, 12):
        for _ in range(50):
            found = noise.noisy(text_of(n)).ids.tolist()
            assert len(found) >= min(n, 3) and found[0] == 0 and found[-1] == n - 1
    assert noise.noisy(text_of(2)).ids.tolist() == [0, 1]


def test_word_noise_keeps_the_data_as_it_is():
    before = [text.ids.copy() for text in TRAIN.encodings]
    changed = WordNoise(alpha=0.5).change_batch(batch(range(53)))
    assert all(np.array_equal(text.ids, ids) for text, ids in zip(TRAIN.encodings, before, strict=True))
    assert not all(np.array_equal(text.ids, ids) for text, ids in zip(changed.texts, before, strict=True))


# ---- contrasts


def supcon_by_hand(vectors, classes, temperature):
    z = [v / v.norm() for v in vectors]
    total = 0.0
    for i in range(len(z)):
        partners = [j for j in range(len(z)) if j != i and classes[j] == classes[i]]
        below = sum(math.exp(float(z[i] @ z[k]) / temperature) for k in range(len(z)) if k != i)
        for j in partners:
            total -= math.log(math.exp(float(z[i] @ z[j]) / temperature) / below) / len(partners)
    return total / len(z)


def test_supcon_by_hand():
    """Six texts, one of them the only one of its class."""
    vectors = torch.randn(6, 4)
    classes = torch.tensor([0, 1, 0, 0, 1, 2])
    some = empty(6)
    some = type(some)([], some.rows, classes, some.targets)
    found = SupCon(temperature=0.5, weight=3.0).penalty(pooled(vectors), some)
    assert float(found) == pytest.approx(3 * supcon_by_hand(vectors, classes.tolist(), 0.5), rel=1e-4)
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    moved = type(some)([], some.rows, classes[order], some.targets)
    torch.testing.assert_close(SupCon(0.5, 3.0).penalty(pooled(vectors[order]), moved), found)


@pytest.mark.parametrize("classes", [[0], [0, 1, 2]])
def test_supcon_without_partners_is_nothing(classes):
    vectors = torch.randn(len(classes), 4, requires_grad=True)
    some = empty(len(classes))
    found = SupCon().penalty(pooled(vectors), some)
    found.backward()
    assert float(found.detach()) == 0 and float(vectors.grad.abs().max()) == 0


def test_simcse_by_hand():
    vectors = torch.randn(8, 5)
    found = SimCSE(temperature=0.2, weight=2.0).penalty(pooled(vectors), empty(4).twice())
    z = [v / v.norm() for v in vectors]
    losses = []
    for i in range(4):
        scores = [math.exp(float(z[i] @ z[4 + j]) / 0.2) for j in range(4)]
        losses.append(-math.log(scores[i] / sum(scores)))
    assert float(found) == pytest.approx(2 * sum(losses) / 4, rel=1e-4)
    order = torch.tensor([2, 0, 3, 1])
    moved = torch.cat([vectors[:4][order], vectors[4:][order]])
    torch.testing.assert_close(SimCSE(0.2, 2.0).penalty(pooled(moved), empty(4).twice()), found)


def test_r_drop_and_simcse_share_one_doubling():
    once = SimCSE().change_batch(batch(range(3)))
    assert RDrop().change_batch(once) is once and len(once.texts) == 6


@pytest.mark.parametrize("kind", [SupCon, SimCSE])
def test_contrasts_are_refused_where_a_process_sees_only_a_share(kind, monkeypatch):
    monkeypatch.setattr(f"{kind.__module__}.ranks", lambda: 2)
    with pytest.raises(ValueError, match=f"{kind.name} compares .* several processes"):
        kind().begin(model_of(), TRAIN, DEV)


# ---- adversaries


def moved_logits(model, packed, step):
    hook = model.bert.embeddings.register_forward_hook(lambda m, i, x: x + step)
    try:
        return model(packed).logits
    finally:
        hook.remove()


def apart(p, q):
    """KL both ways, summed over classes and averaged over texts, from logits."""
    p, q = p.softmax(dim=-1), q.softmax(dim=-1)
    return ((p - q) * (p.log() - q.log())).sum() / len(p)  # Σ p log p/q + q log q/p


def test_smart_by_brute_force():
    model = model_of(**NO_DROPOUT).train()
    some = batch(range(5))
    packed = pack(some.texts)
    smart = SMART(eta=0.7, sigma=0.01, weight=2.0)
    smart.begin(model, TRAIN, DEV)
    torch.manual_seed(5)
    found = smart.penalty(model(packed), some)
    found.backward()
    found_gradients = gradients(model)
    smart.finish(model)

    torch.manual_seed(5)
    step = (0.01 * torch.randn(len(packed.ids), 32)).requires_grad_()
    clean = model(packed).logits
    (g,) = torch.autograd.grad(apart(clean.detach(), moved_logits(model, packed, step)), step)
    ascent = torch.cat([0.7 * part / part.norm() for part in g.split(packed.boundaries.diff().tolist())])
    expected = 2 * apart(clean, moved_logits(model, packed, step.detach() + ascent))
    expected.backward()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(found_gradients, gradients(model), rtol=1e-2, atol=1e-4)
    random = torch.cat(
        [0.7 * part / part.norm() for part in torch.randn_like(g).split(packed.boundaries.diff().tolist())]
    )
    assert expected.item() > 4 * apart(clean, moved_logits(model, packed, random)).item()  # the worst direction


def test_smart_does_not_depend_on_the_size_of_the_batch(monkeypatch):
    monkeypatch.setattr(torch, "randn", lambda *shape, device: torch.ones(shape).mul_(torch.arange(shape[1])))
    model = model_of(**NO_DROPOUT).train()
    smart = SMART(sigma=0.01)
    smart.begin(model, TRAIN, DEV)
    once, twice = batch([0, 3, 8]), batch([0, 3, 8, 0, 3, 8])
    found = [float(smart.penalty(model(pack(some.texts)), some).detach()) for some in (once, twice)]
    assert found[1] == pytest.approx(found[0], rel=1e-3)


def test_smart_adds_nothing_to_gradients_before_backward_and_moves_back_after_a_broken_pass(monkeypatch):
    model = model_of(**NO_DROPOUT).train()
    some = batch(range(5))
    output = model(pack(some.texts))
    smart = SMART()
    smart.begin(model, TRAIN, DEV)
    smart.penalty(output, some)
    assert all(p.grad is None for p in model.parameters())
    with monkeypatch.context() as patched:
        patched.setattr(model.classifier, "forward", lambda x: interrupted())
        with pytest.raises(KeyboardInterrupt):
            smart.penalty(output, some)
    assert torch.equal(model(pack(some.texts)).logits, output.logits)


@pytest.mark.parametrize(("steps", "alpha"), [(1, 0.3), (2, 0.3), (4, 0.3), (3, 5.0)])
def test_freelb_by_brute_force(steps, alpha):
    """δ from step to step, shortened to ε = 1/2 (always, where α is 5); every pass counts 1 / K."""
    model = model_of(**NO_DROPOUT).train()
    some = batch(range(5))
    packed = pack(some.texts)
    freelb = FreeLB(steps=steps, epsilon=0.5, alpha=alpha)
    freelb.begin(model, TRAIN, DEV)
    torch.manual_seed(5)
    one_step(model, freelb)
    found = gradients(model)
    freelb.finish(model)

    torch.manual_seed(5)
    parts = packed.boundaries.diff().tolist()
    noise = torch.empty(len(packed.ids), 32).uniform_(-1, 1)
    delta = torch.cat([0.5 * part / math.sqrt(part.numel()) for part in noise.split(parts)])
    assert max(part.norm() for part in delta.split(parts)) < 0.5
    lengths = []
    for _ in range(steps):
        delta = delta.detach().requires_grad_()
        loss = F.cross_entropy(moved_logits(model, packed, delta), some.classes)
        (g,) = torch.autograd.grad(loss, delta, retain_graph=True)
        (loss / steps).backward()
        lengths += [float(part.detach().norm()) for part in delta.split(parts)]
        climbed = [d + alpha * s / s.norm() for d, s in zip(delta.split(parts), g.split(parts), strict=True)]
        delta = torch.cat([part * min(1, 0.5 / part.norm().item()) for part in climbed])
    torch.testing.assert_close(found, gradients(model), rtol=1e-3, atol=1e-5)
    assert max(lengths) == pytest.approx(0.5, rel=1e-4) or steps == 1 or alpha == 0.3


def test_freelb_moves_its_own_passes_alone():
    """What others compute on the micro-batch after the first pass is not moved, nor is what follows a broken pass."""
    model = model_of(**NO_DROPOUT).train()
    some = batch(range(5))
    packed = pack(some.texts)
    plain = model(packed).logits
    freelb = FreeLB()
    freelb.begin(model, TRAIN, DEV)
    freelb.change_batch(some)
    first = model(packed).logits
    assert not torch.equal(first, plain) and torch.equal(model(packed).logits, plain)
    first.sum().backward()
    with pytest.raises(KeyboardInterrupt):
        freelb.second_pass(interrupted)
    assert torch.equal(model(packed).logits, plain)
    freelb.change_batch(some)
    assert torch.equal(model.eval()(packed).logits, plain)


# ---- temperature


def test_the_temperature_is_that_of_a_fine_grid():
    logits, gold = 4 * torch.randn(300, 3), torch.randint(3, (300,))
    logits[torch.arange(300), gold] += 5
    grid = np.exp(np.linspace(math.log(0.1), math.log(10), 4001))
    losses = [float(F.cross_entropy(logits.double() / t, gold)) for t in grid]
    best = float(grid[int(np.argmin(losses))])
    assert 1.2 < best < 9
    assert best_temperature(logits, gold) == pytest.approx(best, rel=2e-3)
    assert best_temperature(logits / 7, gold) == pytest.approx(best / 7, rel=2e-3)


def test_the_temperature_has_bounds():
    right = torch.eye(3)
    assert best_temperature(right, torch.arange(3)) == pytest.approx(0.1)
    assert best_temperature(right, torch.tensor([1, 2, 0])) == pytest.approx(10)


def test_temperature_lowers_loss_and_leaves_accuracy():
    train, dev = corpus(60), corpus(200, seed=1)
    found = []
    for regularizers in ([], [Temperature()]):
        model = model_of()
        chosen = settings(epochs=25, batch_size=16, lr=3e-3, select="last")
        list(fine_tune(model, TASK, train, dev, chosen, regularizers=regularizers))
        logits = predict(model, dev.encodings)
        found.append((logits, measure(logits.numpy(), dev.gold, LABELS)))
    (plain, before), (scaled, after) = found
    assert torch.equal(plain.argmax(dim=1), scaled.argmax(dim=1))
    ratio = plain / scaled
    assert float(ratio.mean()) == pytest.approx(best_temperature(plain, torch.from_numpy(dev.gold)), rel=1e-3)
    assert after["accuracy"] == before["accuracy"]
    assert after["loss"] < 0.9 * before["loss"] and after["ece"] < 0.5 * before["ece"]


def test_temperature_leaves_a_run_that_broke_off():
    model = model_of()
    run = fine_tune(model, TASK, TRAIN, DEV, settings(), regularizers=[Temperature()])
    next(run)
    next(run)
    before = model.classifier.weight.detach().clone()
    run.close()
    assert torch.equal(model.classifier.weight, before)


def test_temperature_is_found_also_where_a_run_is_part_of_handling_an_error():
    ends = []
    for regularizers in ([], [Temperature()]):
        model = model_of()
        try:
            raise KeyError("somebody else's")
        except KeyError:
            list(fine_tune(model, TASK, TRAIN, DEV, settings(epochs=1), regularizers=regularizers))
        ends.append(weights(model))
    assert not torch.equal(*ends)


# ---- all of them


@pytest.mark.parametrize("kind", ["supcon", "simcse", "smart", "distillation"])
def test_a_penalty_adds_weight_times_itself(kind, teacher):
    """With the same dropout masks, loss and gradients at weights 0, 1 and 2 lie on a straight line."""
    model = model_of().train()
    losses, found = [], []
    for weight in (0.0, 1.0, 2.0):
        regularizer = made(kind, teacher)
        regularizer.weight = weight
        regularizer.begin(model, RICH, DEV)
        torch.manual_seed(7)
        changed = regularizer.change_batch(batch([0, 1, 2, 3, 4, 5, 6]))
        output = model(pack(changed.texts))
        task, penalty = F.cross_entropy(output.logits, changed.targets), regularizer.penalty(output, changed)
        (task + penalty).backward()
        losses.append((task.item(), penalty.item()))
        found.append(gradients(model))
        regularizer.finish(model)
    assert losses[0] == (losses[1][0], 0) and losses[2] == pytest.approx((losses[1][0], 2 * losses[1][1]), rel=1e-5)
    assert losses[1][1] > 1e-3
    torch.testing.assert_close(found[2] - found[0], 2 * (found[1] - found[0]), rtol=1e-3, atol=1e-4)
    assert (found[1] - found[0]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", OURS)
def test_it_leaves_evaluation_and_the_model_as_they_were(kind, teacher):
    model = model_of()
    before, names = predict(model, DEV.encodings), list(model.state_dict())
    numbers, hooks = [p for _, p in model.named_parameters()], hooks_of(model)
    regularizer = made(kind, teacher)
    regularizer.begin(model, RICH, DEV)
    one_step(model.train(), regularizer)
    model.zero_grad()
    assert torch.equal(predict(model, DEV.encodings), before)
    regularizer.change_batch(batch(range(3)))  # and in the middle of a step
    assert torch.equal(predict(model, DEV.encodings), before)
    if kind == "temperature":  # it is there to change the end
        return
    regularizer.finish(model)
    assert list(model.state_dict()) == names and hooks_of(model) == hooks
    assert all(p is q for p, q in zip(model.parameters(), numbers, strict=True))
    assert all("forward" not in vars(module) for module in model.modules())
    torch.manual_seed(3)
    found = model.train()(pack(DEV.encodings)).logits
    torch.manual_seed(3)
    assert torch.equal(found, model_of_same(model)(pack(DEV.encodings)).logits)


def hooks_of(model):
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()]


def model_of_same(model):
    """Another model of the same weights, on which no regularizer ever acted; the random state is left as it is."""
    state = torch.get_rng_state()
    other = model_of()
    torch.set_rng_state(state)
    other.load_state_dict(model.state_dict())
    return other.train()


def run_of(model, chosen, kind, teacher, *where, **how):
    rows = list(fine_tune(model, TASK, RICH, DEV, chosen, *where, regularizers=[made(kind, teacher)], **how))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.mark.parametrize("kind", OURS)
def test_a_stopped_run_ends_as_the_unbroken_one_bit_for_bit(kind, teacher, tmp_path):
    chosen = settings(epochs=4, accumulate=2, select="best-loss")
    unbroken = model_of()
    expected = run_of(unbroken, chosen, kind, teacher)
    stopped = fine_tune(model_of(), TASK, RICH, DEV, chosen, tmp_path, regularizers=[made(kind, teacher)])
    for _ in range(3):
        next(stopped)
    stopped.close()  # after two epochs
    torch.manual_seed(99)
    resumed = model_of(seed=5)
    assert run_of(resumed, chosen, kind, teacher, tmp_path, resume=True) == expected
    assert torch.equal(weights(resumed), weights(unbroken))
    if kind != "temperature":
        assert torch.equal(predict(resumed, DEV.encodings), predict(unbroken, DEV.encodings))
        plain = list(fine_tune(model_of(), TASK, RICH, DEV, chosen))
        assert plain[-1]["train_loss"] != expected[-1]["train_loss"]  # it does something


@pytest.mark.parametrize("kind", OURS)
def test_it_learns_in_bf16_and_in_parts(kind, teacher):
    votes = np.eye(3, dtype=int)[corpus(160).gold]  # so that judges agree with the labels
    train = corpus(160)._replace(sentences=[SENTENCES[i % 53] for i in range(160)], votes=votes)
    chosen = settings(epochs=8, accumulate=2, lr=3e-3, precision="bf16", select="last")
    rows = list(fine_tune(model_of(), TASK, train, DEV, chosen, regularizers=[made(kind, teacher)]))
    numbers = [v for row in rows[1:] for k, v in row.items() if k != "epoch" and v is not None]
    assert np.isfinite(numbers).all()
    assert rows[-1]["train_loss"] < 0.8 * rows[1]["train_loss"]
    assert (f"train_{kind.partition(':')[0]}" in rows[-1]) == (kind in ("distillation", "supcon", "simcse", "smart"))


@pytest.mark.parametrize(
    "neutral",
    [
        "focal:gamma=0", "judge-votes:weight=0", "distillation:weight=0", "hidden-mixup:alpha=0",
        "multi-sample-dropout:samples=1", "layer-drop:p=0", "word-dropout:p=0", "word-noise:alpha=0", "supcon:weight=0",
        "simcse:weight=0", "smart:weight=0", "freelb:epsilon=0",
    ],
)  # fmt: skip
def test_at_its_neutral_setting_it_is_left_out(neutral):
    assert regularizers_of([neutral]) == []


@pytest.mark.parametrize(
    "bad",
    [
        "focal:gamma=-1", "judge-votes:weight=1.5", "distillation:temperature=0", "hidden-mixup:alpha=-1",
        "multi-sample-dropout:samples=0", "layer-drop:p=1", "word-dropout:p=1", "word-noise:alpha=1",
        "supcon:temperature=0", "simcse:temperature=0", "smart:sigma=-1", "freelb:steps=0", "freelb:epsilon=-1",
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_by_the_name_of_its_setting(bad):
    name, setting = bad.split("=")[0].split(":")
    with pytest.raises(ValueError, match=f"the {setting} of {name} (is|are) "):
        regularizers_of([bad])


def test_settings_have_defaults_that_tell_their_type():
    ours = [SHELF[description.split(":")[0]] for description in OURS]
    defaults = [p.default for kind in ours for p in inspect.signature(kind).parameters.values()]
    assert {type(value) for value in defaults} == {float, int, str} and len(ours) == 13
    assert FGM.name in SHELF["smart"].refuses and FGM.name in SHELF["freelb"].refuses
