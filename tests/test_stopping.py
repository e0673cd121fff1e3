"""Runs that are stopped: by a signal at any place, by a full disk, by a damaged checkpoint; and going on with them."""

import csv
import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from checkout import ROOT
from test_pretraining import files, small_model  # noqa: F401 - a fixture, and a model
from test_pretraining import settings as pretraining_settings
from test_scripts import TRAINING, only_run
from test_train import DEV, TASK, TRAIN, model_of, settings, weights
from tiny_checkpoint import TOKENIZER, checkpoint

import tezukuri
from tezukuri.eval import report
from tezukuri.eval.runs import write_json
from tezukuri.scripts.command import main as command
from tezukuri.train import finetune, loop, pretraining
from tezukuri.train import step as step_of_loop
from tezukuri.train.checkpoint import FILE, config_of_stopped_run, require_whole, save_checkpoint
from tezukuri.train.loop import fine_tune
from tezukuri.train.regularizers.shelf import regularizers_of
from tezukuri.train.signals import as_interrupts, put_off
from tezukuri.weights.save import save

STATEFUL = ["r-drop", "child-tuning", "ema:decay=0.9", "mixout", "layer-drop", "word-dropout"]
TERM = signal.SIGTERM
HUP = getattr(signal, "SIGHUP", signal.SIGINT)  # Windows has none
full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


def without_time(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def at_call(number: int, function, act):
    """`function`, with `act` done at its call of this number, before it."""
    calls = iter(range(1, 10**9))

    def called(*arguments, **options):
        if next(calls) == number:
            act()
        return function(*arguments, **options)

    return called


@pytest.mark.parametrize("regularizers", [[], STATEFUL, ["gradual-unfreezing:until=1", "swa:start=0.2", "awp"]])
@pytest.mark.parametrize(("step", "number"), [(3, TERM), (10, HUP), (14, signal.SIGINT)])
def test_a_signal_keeps_a_checkpoint_of_its_step(tmp_path, monkeypatch, step, number, regularizers):
    """7 steps an epoch: in the first epoch, in the second, and at the last step of all."""
    unbroken = model_of()
    rows = list(fine_tune(unbroken, TASK, TRAIN, DEV, settings(), regularizers=regularizers_of(regularizers)))
    signalled = at_call(step, step_of_loop.clip_gradients, lambda: signal.raise_signal(number))
    with monkeypatch.context() as patch:
        patch.setattr(step_of_loop, "clip_gradients", signalled)
        with pytest.raises(KeyboardInterrupt):
            list(fine_tune(model_of(), TASK, TRAIN, DEV, settings(), tmp_path, False, regularizers_of(regularizers)))
    made = []
    monkeypatch.setattr(step_of_loop, "clip_gradients", lambda *a: (made.append(1), regularly(*a))[1])
    torch.manual_seed(99)
    resumed = model_of(seed=5)
    again = list(fine_tune(resumed, TASK, TRAIN, DEV, settings(), tmp_path, True, regularizers_of(regularizers)))
    assert len(made) == 14 - step
    assert torch.equal(weights(resumed), weights(unbroken))
    assert without_time(again) == without_time(rows)


regularly = step_of_loop.clip_gradients


def test_a_signal_while_dev_is_judged_waits_for_the_checkpoint_of_the_epoch(tmp_path, monkeypatch):
    signalled = at_call(2, loop.evaluate_dev, lambda: signal.raise_signal(TERM))  # the first is before training
    monkeypatch.setattr(loop, "evaluate_dev", signalled)
    run, rows = fine_tune(model_of(), TASK, TRAIN, DEV, settings(), tmp_path), []
    with pytest.raises(KeyboardInterrupt):
        rows += iter(run)
    assert torch.load(tmp_path / FILE, weights_only=True)["progress"]["epoch"] == 1


def test_a_run_that_is_killed_loses_no_more_than_the_time_between_two_checkpoints(tmp_path, monkeypatch):
    unbroken = model_of()
    rows = list(fine_tune(unbroken, TASK, TRAIN, DEV, settings()))
    monkeypatch.setattr(loop, "KEEP_EVERY", -1.0)  # after every step
    with monkeypatch.context() as patch:
        patch.setattr(step_of_loop, "clip_gradients", at_call(5, regularly, lambda: 1 / 0))
        with pytest.raises(ZeroDivisionError):
            list(fine_tune(model_of(), TASK, TRAIN, DEV, settings(), tmp_path))
    assert len(torch.load(tmp_path / FILE, weights_only=True)["progress"]["sizes"]) == 4
    resumed = model_of(seed=5)
    assert without_time(list(fine_tune(resumed, TASK, TRAIN, DEV, settings(), tmp_path, True))) == without_time(rows)
    assert torch.equal(weights(resumed), weights(unbroken))


def test_weights_that_are_no_numbers_are_never_kept(tmp_path, monkeypatch):
    def spoil():
        with torch.no_grad():
            model.classifier.bias[0] = torch.nan

    model = model_of()
    monkeypatch.setattr(loop, "KEEP_EVERY", -1.0)
    monkeypatch.setattr(step_of_loop, "clip_gradients", at_call(2, regularly, spoil))
    with pytest.raises(loop.TrainingError, match="at step 3"):
        list(fine_tune(model, TASK, TRAIN, DEV, settings(), tmp_path))
    assert len(torch.load(tmp_path / FILE, weights_only=True)["progress"]["sizes"]) == 2


@pytest.mark.parametrize("step", [1, 4])
def test_a_signal_keeps_a_checkpoint_of_pretraining(tmp_path, monkeypatch, files, step):  # noqa: F811
    chosen, unbroken = pretraining_settings(look_every=3), small_model()
    rows = list(pretraining.pretrain(unbroken, TOKENIZER, files, chosen, tmp_path))
    (tmp_path / "cut").mkdir()
    torch.manual_seed(1)
    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "guesses", at_call(step, pretraining.guesses, lambda: signal.raise_signal(TERM)))
        patch.setattr(pretraining, "HELD_OUT_BATCHES", 0)
        patch.setattr(pretraining, "evaluate", lambda *_: rows[0] if step > 3 else {})
        with pytest.raises(KeyboardInterrupt):
            list(pretraining.pretrain(small_model(), TOKENIZER, files, chosen, tmp_path / "cut"))
    kept = torch.load(tmp_path / "cut" / FILE, weights_only=True)["progress"]
    assert kept["step"] == step and len(kept["losses"]) == 1
    resumed = small_model(seed=3)
    again = list(pretraining.pretrain(resumed, TOKENIZER, files, chosen, tmp_path / "cut", resume=True))
    assert torch.equal(weights(resumed), weights(unbroken))
    for mine, other in zip(again, rows, strict=True):
        assert {n: mine[n] for n in ("step", "tokens", "lr", "train_loss")} == {
            n: other[n] for n in ("step", "tokens", "lr", "train_loss")
        }


@pytest.fixture(scope="module")
def training(voted_reviews) -> list[str]:
    data = ["--data", str(voted_reviews), "--epochs", "2", "--regularizer", "none", "--save-model", "none"]
    return [*TRAINING, *data, "--output-dir"]


@pytest.fixture(scope="module")
def whole(training, tmp_path_factory) -> Path:
    """The run that no signal reaches."""
    root = tmp_path_factory.mktemp("whole")
    assert command(["finetune", *training, str(root)]) == 0
    return only_run(root)


@pytest.mark.skipif(sys.platform == "win32", reason="a program cannot be sent such signals on Windows")
@pytest.mark.parametrize("number", [TERM, HUP])
def test_a_command_that_gets_a_signal_says_how_to_go_on_and_ends_as_the_unbroken_one(training, whole, tmp_path, number):
    cut = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "finetune.py"), *training, str(tmp_path / "cut")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    while not cut.stdout.readline().startswith("    0"):  # epoch 0 is printed: steps of the first come next
        assert cut.poll() is None
    time.sleep(0.1)
    cut.send_signal(number)
    _, error = cut.communicate(timeout=120)
    run = only_run(tmp_path / "cut")
    assert cut.returncode == 130 and f"go on with    tezukuri finetune --resume {run}" in error
    assert error.splitlines()[-1] == "finetune: stopped" and (run / FILE).is_file()
    assert command(["finetune", "--resume", str(run)]) == 0
    for name in ("predictions-test.jsonl", "val-metrics.json"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    logs = [list(csv.DictReader((folder / "log.csv").open())) for folder in (run, whole)]
    assert without_time(logs[0]) == without_time(logs[1])


def test_where_the_page_is_stopped_the_command_that_makes_it_is_told(some_reviews, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(finetune.Run, "page", lambda run: signal.raise_signal(TERM))
    arguments = [*TRAINING[:-1], f"--data={some_reviews}", "--epochs=1", "--regularizer=none", "--output-dir"]
    assert command(["finetune", *arguments, str(tmp_path)]) == 130
    run = only_run(tmp_path)
    assert f"go on with    tezukuri failures {run}" in capsys.readouterr().err
    assert (run / "model" / "config.json").is_file() and not (run / FILE).exists()
    again = tmp_path / "unsaved"
    assert command(["finetune", *arguments, str(again), "--save-model", "none"]) == 130
    assert f"go on with    tezukuri finetune --resume {only_run(again)}" in capsys.readouterr().err


def test_what_is_ignored_or_handled_by_others_stays_so_and_all_is_as_before_in_the_end():
    theirs = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, TERM, HUP)}
    try:
        signal.signal(HUP, signal.SIG_IGN)  # as nohup does
        signal.signal(TERM, lambda *_: theirs.append(1))
        with as_interrupts(), put_off() as stop:
            signal.raise_signal(HUP)
            signal.raise_signal(TERM)
            assert theirs == [1] and not stop.asked
            signal.raise_signal(signal.SIGINT)
            assert stop.asked
            with pytest.raises(KeyboardInterrupt):  # who asks twice does not want to wait
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == before[signal.SIGINT]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_outside_of_the_main_thread_signals_are_left_alone():
    found = []

    def elsewhere():
        with put_off() as stop:
            found.append(stop.asked)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [False]


# --- damaged and unwritten --------------------------------------------------------------------------------------


def test_a_flipped_bit_in_a_checkpoint_is_found_or_changes_nothing(tmp_path):
    run = fine_tune(model_of(), TASK, TRAIN, DEV, settings(), tmp_path)
    next(run), next(run)
    run.close()
    path, draw, found = tmp_path / FILE, random.Random(1), 0
    whole = path.read_bytes()
    kept = torch.load(path, weights_only=True)["model"]
    for place in [*draw.sample(range(len(whole)), 60), *range(0, 400, 7), *range(len(whole) - 200, len(whole), 7)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        resumed = model_of(seed=5)
        try:
            next(fine_tune(resumed, TASK, TRAIN, DEV, settings(), tmp_path, True))
        except ValueError as error:
            found += 1
            assert str(path) in str(error) and "start the run anew" in str(error)
        else:
            assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in kept.items())
    assert found > 60
    path.write_bytes(whole)
    require_whole(path)


@full_disk
def test_no_room_for_a_checkpoint_is_one_sentence_and_the_one_before_stays(some_reviews, tmp_path, monkeypatch, capsys):
    real = loop.save_checkpoint

    def fills_up(folder, *rest):
        (folder / f".{FILE}").symlink_to("/dev/full")
        real(folder, *rest)

    monkeypatch.setattr(loop, "save_checkpoint", at_call_use(2, real, fills_up))
    arguments = [*TRAINING, f"--data={some_reviews}", "--epochs=2", "--regularizer=none", "--save-model=none"]
    assert command(["finetune", *arguments, "--output-dir", str(tmp_path)]) == 1
    run = only_run(tmp_path)
    *_, told, error = capsys.readouterr().err.strip().splitlines()
    assert error == f"finetune: error: {run / FILE} cannot be written (No space left on device): make room on its disk"
    assert told == f"go on with    tezukuri finetune --resume {run}"
    assert {path.name for path in run.iterdir()} == {"config.json", "log.csv", FILE}
    monkeypatch.undo()
    assert command(["finetune", "--resume", str(run)]) == 0


@pytest.mark.parametrize("room", [1_000, 30_000])
def test_no_room_in_the_midst_of_a_tensor_is_one_sentence_too(tmp_path, room):
    """There torch's writer raises a RuntimeError of its own; a limit for the size of files stands for a full disk."""
    resource = pytest.importorskip("resource")  # Windows has none
    model = model_of()
    optimizer, scaler = torch.optim.AdamW(model.parameters()), torch.amp.GradScaler(enabled=False)
    save_checkpoint(tmp_path, {"epoch": 1}, model, [optimizer], scaler)
    before = (tmp_path / FILE).read_bytes()
    assert len(before) > 2 * room
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, usual[1]))
    try:
        with pytest.raises(
            OSError, match=r"checkpoint\.pt cannot be written \(File too large\): make room on its disk"
        ):
            save_checkpoint(tmp_path, {"epoch": 2}, model, [optimizer], scaler)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert (tmp_path / FILE).read_bytes() == before and [path.name for path in tmp_path.iterdir()] == [FILE]


def test_an_error_of_torch_that_is_none_of_the_disk_stays_what_it_is(tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(RuntimeError, match="CUDA error"):
        save_checkpoint(tmp_path, {}, torch.nn.Linear(1, 1), [], torch.amp.GradScaler(enabled=False))
    assert not any(tmp_path.iterdir())


def at_call_use(number: int, function, other):
    """`function`, but `other` at its call of this number."""
    calls = iter(range(1, 10**9))
    return lambda *arguments: (other if next(calls) == number else function)(*arguments)


def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path):
    (tmp_path / "config.json").mkdir()  # no file can take its place
    with pytest.raises(OSError, match=r"config\.json cannot be written \(Is a directory\): choose another folder"):
        write_json(tmp_path / "config.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    model, tokenizer = tezukuri.load("mini")
    with pytest.raises(OSError, match=r"model cannot be written \(.*\): choose another folder") as caught:
        save(model, tokenizer, tmp_path / ("model" * 50))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("mask", [0o027, 0o002])
def test_all_files_have_the_modes_of_the_umask(some_reviews, tmp_path, mask):
    before = os.umask(mask)
    try:
        arguments = [*TRAINING, f"--data={some_reviews}", "--epochs=1", "--regularizer=none"]
        assert command(["finetune", *arguments, f"--output-dir={tmp_path / 'out'}"]) == 0
        list(fine_tune(model_of(), TASK, TRAIN, DEV, settings(epochs=1), tmp_path))
    finally:
        os.umask(before)
    made = [tmp_path / FILE, tmp_path / "out", *(tmp_path / "out").rglob("*")]
    assert len(made) > 15
    for path in made:
        expected = (0o777 if path.is_dir() else 0o666) & ~mask
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_a_saved_tokenizer_says_how_many_tokens_the_model_takes(tmp_path):
    import transformers

    checkpoint(tmp_path / "in", "BertForMaskedLM")  # 64 positions
    for stated, expected in ((None, 64), (512, 64), (48, 48)):
        model, tokenizer = tezukuri.load(tmp_path / "in")
        tokenizer.model_max_length = stated
        save(model, tokenizer, tmp_path / "out")
        told = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text(encoding="utf-8"))
        assert told["model_max_length"] == expected
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
        assert len(theirs("駅から近くて便利でした。" * 40, truncation=True)["input_ids"]) == expected
        assert tezukuri.load(tmp_path / "out")[1].model_max_length == expected


def test_a_weights_file_that_cannot_be_opened_is_not_called_lost_and_nobody_is_told_to_delete_it(tmp_path, monkeypatch):
    checkpoint(tmp_path, "BertModel")
    weights_file = tmp_path / "model.safetensors"
    opened = Path.open

    def refuse(path, *arguments, **options):
        if path == weights_file:
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    def as_safetensors_says_it(_):
        raise FileNotFoundError(f"No such file or directory: {weights_file}")

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr("tezukuri.weights.load.load_file", as_safetensors_says_it)
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read \(Permission denied\)") as caught:
        tezukuri.load(tmp_path)
    assert "delete" not in str(caught.value) and "No such" not in str(caught.value)
    monkeypatch.undo()
    weights_file.write_bytes(weights_file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="if it is damaged, fetch it again") as caught:
        tezukuri.load(tmp_path)
    assert "delete" not in str(caught.value)
    monkeypatch.setattr("tezukuri.weights.load.load_file", lambda _: bytearray(1 << 62))
    with pytest.raises(ValueError, match="needs more memory than there is here"):
        tezukuri.load(tmp_path)


def test_a_picture_that_fails_ends_no_run_and_the_model_is_written_before_it(
    some_reviews, tmp_path, monkeypatch, caplog
):
    def fails(*_):
        (run,) = tmp_path.glob("*/*/*")
        there.append({path.name for path in run.iterdir()})
        raise ValueError("no picture of this")

    there: list[set[str]] = []
    monkeypatch.setattr(finetune, "curves", fails)
    monkeypatch.setitem(report.PICTURES, "classify", ("confusion_matrix.png", fails))
    arguments = [*TRAINING, f"--data={some_reviews}", "--epochs=1", "--regularizer=none", f"--output-dir={tmp_path}"]
    assert command(["finetune", *arguments]) == 0
    assert len(there) == 2
    assert all({"model", "predictions-test.jsonl", "predictions-dev.jsonl", "test-metrics.json"} <= t for t in there)
    warned = [record.getMessage() for record in caplog.records if "was not drawn" in record.getMessage()]
    assert len(warned) == 2 and all("no picture of this" in line and "\n" not in line for line in warned)
    assert not (only_run(tmp_path) / FILE).exists()


@pytest.mark.parametrize("script", ["finetune", "pretrain"])
@pytest.mark.parametrize(
    ("config", "of"),
    [
        ({}, ()),
        ({"options": {}}, ()),
        ({"options": [], "settings": {}, "data": {}}, ()),
        ({"options": {}, "settings": {}}, ("pretrain",)),
        ({"options": {}, "settings": {}, "data": {}, "more": 1}, ("finetune",)),
    ],
)
def test_a_run_of_another_command_or_half_a_configuration_is_told(tmp_path, capsys, script, config, of):
    (tmp_path / FILE).touch()
    write_json(tmp_path / "config.json", config)
    if script in of:
        assert config_of_stopped_run(tmp_path, script) == config
        return
    assert command([script, "--resume", str(tmp_path)]) == 1
    said = f"config.json does not tell what a run of {script} was started with: resume it by the command that began it"
    assert said in capsys.readouterr().err
