"""The commands as people run them: every flag, every file of a run, stopping and going on, and what errors say."""

import csv
import io
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from sklearn.metrics import classification_report
from tiny_checkpoint import checkpoint

import tezukuri
from tezukuri.data.dataset import DataError
from tezukuri.data.load import load as load_data
from tezukuri.data.texts import Row
from tezukuri.eval.classifier import READ_AHEAD, Classifier
from tezukuri.eval.neutral import tune_width
from tezukuri.eval.predict import predict as predict_logits
from tezukuri.eval.study.made import read_all
from tezukuri.eval.tasks.metrics import expected_calibration_error, scores, softmax
from tezukuri.scripts import embed, evaluate, predict, search
from tezukuri.scripts import finetune as finetune_script
from tezukuri.scripts.command import command_line
from tezukuri.scripts.command import main as command
from tezukuri.scripts.options import label_list, plan_of
from tezukuri.train import finetune
from tezukuri.train.checkpoint import BeginAnewError
from tezukuri.train.plan import Plan

LABELS = ("negative", "normal", "positive")
FILES = {
    "config.json", "log.csv", "val-metrics.json", "test-metrics.json", "predictions-dev.jsonl",
    "predictions-test.jsonl", "classification_report.txt", "confusion_matrix.png", "curves.png", "model",
}  # fmt: skip
FLAGS = {
    finetune_script: """
        --model --revision --tokenizer --reset-head --pooling --normalise --no-normalise --random-weights
        --hidden-dropout
        --attention-dropout --classifier-dropout --attention --data --data-path --text-column --label-column
        --split-column --split-seed --dev-split --fold
        --bad-rows --leave-out --pair-column --choice-columns --task --id-column --encoding --classes --merge-labels
        --method --pairs
        --decay-all --no-decay-all
        --recipe --epochs --batch-size --accumulate --lr --weight-decay --warmup-ratio --warmup-steps --max-grad-norm
        --max-length --truncation --label-smoothing --class-weights --regularizer --list-regularizers --select
        --patience --stop-by --least-change --schedule --beta2 --epsilon --track
        --precision --compile --no-compile --graphs --no-graphs --seed --device --output-dir --save-model
        --judge-train --checkpoint --no-checkpoint --resume --trust --report --no-report --language""",
    evaluate: """
        --pair-column --choice-columns --id-column --encoding --classes --merge-labels
        --model --revision --labels --neutral-band --data --data-path --text-column --label-column --split-column
        --split-seed --dev-split --bad-rows --split --max-length --truncation --batch-size --precision --device
        --output-dir --report --no-report --language""",
    predict: """
        --model --revision --labels --file --encoding --text-column --pair-column --choice-columns --bad-rows
        --output --format --max-length --truncation --batch-size --precision --top-k --device""",
    embed: """
        --model --revision --file --encoding --text-column --bad-rows --output --prompt --max-length --batch-size
        --precision --device""",
    search: """
        --model --revision --file --encoding --text-column --bad-rows --output --queries --query-column --vectors -k
        --max-length --batch-size --precision --device""",
}
TRAINING = ["--model", "scratch", "--data", "sample", "--lr", "1e-3", "--batch-size", "8", "--precision", "fp32"]
TRAINING += ["--no-report"]  # tests/test_failures.py is about the page


def only_run(root: Path) -> Path:
    (run,) = root.glob("*/*/*")
    return run


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def run(voted_reviews, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("outputs")
    arguments = [*TRAINING, "--data", str(voted_reviews), "--epochs", "2", "--output-dir", str(root)]
    assert command(["finetune", *arguments]) == 0
    return only_run(root)


@pytest.mark.parametrize("script", FLAGS, ids=lambda script: script.__name__.split(".")[-1])
def test_the_flags_are_these(script):
    options = {name for action in script.parser()._actions for name in action.option_strings}
    assert options - {"-h", "--help"} == set(FLAGS[script].split())


def test_a_run_has_all_its_files(run):
    assert {path.name for path in run.iterdir()} == FILES
    assert {path.name for path in (run / "model").iterdir()} == {
        "config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json",
    }  # fmt: skip
    assert run.relative_to(run.parents[2]).parts[0] == "scratch"
    assert (run / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")


def test_the_metrics_are_those_of_the_predictions_file(run, voted_reviews):
    rows = rows_of(run / "predictions-test.jsonl")
    examples = load_data(str(voted_reviews)).split("test")
    assert [(r["id"], r["text"], r["label"]) for r in rows] == [(e.id, e.text, e.label) for e in examples]
    assert set(rows[0]) == {"id", "text", "label", "predicted", "probabilities", "votes"}
    gold, predicted = [r["label"] for r in rows], [r["predicted"] for r in rows]
    probabilities = np.array([[r["probabilities"][label] for label in LABELS] for r in rows])
    assert [LABELS[i] for i in probabilities.argmax(1)] == predicted
    assert probabilities.sum(1) == pytest.approx(1)
    metrics = json.loads((run / "test-metrics.json").read_text())
    assert set(metrics) == {"loss", "accuracy", "precision", "recall", "f1", "ece", "examples"}
    expected = scores(gold, predicted, LABELS)
    expected["ece"] = expected_calibration_error(probabilities.max(1), np.array(gold) == np.array(predicted))
    expected["loss"] = -np.log(probabilities[np.arange(len(gold)), [LABELS.index(g) for g in gold]]).mean()
    assert metrics == pytest.approx(expected | {"examples": len(gold)}, rel=1e-6)
    table = classification_report(gold, predicted, labels=LABELS, digits=4, zero_division=0)
    assert (run / "classification_report.txt").read_text().startswith(table)


def test_the_log_has_a_row_an_epoch_and_the_kept_epoch_is_the_best_of_them(run):
    log = list(csv.DictReader((run / "log.csv").open()))
    assert [row["epoch"] for row in log] == ["0", "1", "2"] and log[0]["train_loss"] == ""
    kept = json.loads((run / "val-metrics.json").read_text())
    assert max(float(row["dev_f1"]) for row in log[1:]) == kept["f1"]


def test_the_configuration_tells_how_to_repeat_the_run_and_what_it_took(run):
    told = json.loads((run / "config.json").read_text(encoding="utf-8"))
    weights = load_file(run / "model" / "model.safetensors")
    assert told["parameters"] == sum(tensor.numel() for tensor in weights.values())
    assert told["memory"]["process"] > 100 * 2**20, "bytes: PyTorch alone is larger"
    assert told["settings"]["lr"] == 1e-3 and told["settings"]["epochs"] == 2 and told["settings"]["seed"] == 42
    assert (
        told["versions"]["torch"]
        and told["command"]
        and told["data"]["texts"]["test"] == len(rows_of(run / "predictions-test.jsonl"))
    )
    assert json.loads((run / "model" / "config.json").read_text())["id2label"] == dict(zip("012", LABELS, strict=True))


def test_aggregate_reads_what_finetune_wrote(run):
    ((made,), notes) = read_all([run.parents[2]])
    dev, test = (json.loads((run / f"{name}-metrics.json").read_text()) for name in ("val", "test"))
    assert made.values["f1"] == test["f1"] and made.values["best-val-f1"] == dev["f1"] and not notes
    assert made.values["lr"] == 1e-3 and made.values["best-val-epoch"] in (1, 2)
    assert made.model == "scratch" and len(made.gold) == len(made.predicted) == 100


def test_evaluate_finds_what_finetune_found(run, voted_reviews, tmp_path, capsys):
    arguments = ["--model", str(run / "model"), "--data", str(voted_reviews), "--precision", "fp32", "--no-report"]
    arguments += ["--output-dir", str(tmp_path)]
    assert command(["evaluate", *arguments]) == 0
    found = only_run(tmp_path)
    assert found.parents[1].name == run.parents[1].name  # called by what was fine-tuned, not "model"
    assert {path.name for path in found.iterdir()} == FILES - {
        "log.csv", "val-metrics.json", "predictions-dev.jsonl", "curves.png", "model",
    }  # fmt: skip
    mine, before = (json.loads((folder / "test-metrics.json").read_text()) for folder in (found, run))
    assert mine == pytest.approx(before, rel=1e-5)
    assert "negative" in capsys.readouterr().out


def test_a_neutral_band_makes_three_labels_of_two(run, voted_reviews, tmp_path):
    """A model that knows negative and positive only, made from the trained one by leaving a row of its head out."""
    model, tokenizer = tezukuri.load(run / "model", "classify")
    keep = [0, 2]
    model.labels = ("negative", "positive")
    model.classifier.weight.data = model.classifier.weight.data[keep]
    model.classifier.bias.data = model.classifier.bias.data[keep]
    from tezukuri.weights.save import save

    save(model, tokenizer, tmp_path / "two")
    results = {}
    for band in ("none", "auto", "1"):
        root = tmp_path / f"band-{band}"
        arguments = ["--model", str(tmp_path / "two"), "--data", str(voted_reviews), "--neutral-band", band]
        arguments += ["--precision", "fp32", "--no-report"]
        assert command(["evaluate", *arguments, "--output-dir", str(root)]) == 0
        predicted = {row["predicted"] for row in rows_of(only_run(root) / "predictions-test.jsonl")}
        results[band] = json.loads((only_run(root) / "config.json").read_text())["neutral_band"], predicted
        assert "accuracy at best" in (only_run(root) / "classification_report.txt").read_text()
    assert results["none"][0] is None and "normal" not in results["none"][1]
    dev = load_data(str(voted_reviews)).split("dev")
    logits = predict_logits(model.eval(), tokenizer.encode_batch([e.text for e in dev]))
    gold = [example.label for example in dev]
    tuned = tune_width(softmax(logits.numpy()), gold, ("negative", "positive"), LABELS)
    assert results["auto"][0] == {"label": "normal", "width": tuned} and 0 < tuned < 1  # on test it would be another
    assert results["1"] == ({"label": "normal", "width": 1.0}, {"normal"})


def test_predict_from_arguments_file_and_standard_input(run, tmp_path, capsys, monkeypatch):
    model, texts = str(run / "model"), ["駅から近い。", "部屋が\x1b[31m汚い。"]
    assert command(["predict", "--model", model, *texts]) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] in LABELS for line in table] == [True, True] and "\x1b" not in table[1]
    (tmp_path / "texts.txt").write_text("駅から近い。\n\nよい\n", encoding="utf-8")
    assert command(["predict", "--model", model, "--file", str(tmp_path / "texts.txt"), "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["id"], row["text"]) for row in rows] == [
        ("texts.txt:1", "駅から近い。"), ("texts.txt:2", ""), ("texts.txt:3", "よい"),
    ]  # fmt: skip
    assert rows[1]["predicted"] is None and rows[1]["not_labelled"] == "the line is blank"
    lines = b'{"id": 7, "review": "\\u3088\\u3044"}\n'
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
    assert command(["predict", "--model", model, "--text-column", "review", "--format", "jsonl"]) == 0
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (row["id"], row["text"]) == ("7", "よい") and row["probabilities"] == pytest.approx(rows[2]["probabilities"])


def test_predict_reads_no_further_than_it_has_answered(run):
    """Constant memory: of endless texts, a few batches at a time are taken."""
    classifier, taken = Classifier.load(run / "model", precision="fp32"), []

    def endless():
        while True:
            taken.append("よい部屋でした。")
            yield Row(str(len(taken)), taken[-1])

    answers = predict.predictions(classifier, endless(), batch_size=4)
    for _ in range(6):
        next(answers)
    assert len(taken) <= READ_AHEAD * 4 + 1


def test_a_classifier_in_python(run):
    classifier = tezukuri.Classifier.load(run / "model", precision="fp32")
    one = classifier("駅から近くて便利でした。")
    assert one.label in LABELS and one.probability == max(one.probabilities.values()) and not one.truncated
    many = classifier(["駅から近くて便利でした。", "最悪", "あ" * 2000])
    assert many[0].probabilities == pytest.approx(one.probabilities, rel=1e-4)
    assert [prediction.truncated for prediction in many] == [False, False, True]
    assert classifier([]) == []
    assert set(classifier("[SEP][CLS]").probabilities) == set(LABELS)
    classifier_in_int8 = tezukuri.Classifier.load(run / "model", precision="int8")
    small = classifier_in_int8(["駅から近くて便利でした。", "最悪"])
    for prediction, whole in zip(small, many, strict=False):
        assert prediction.probabilities == pytest.approx(whole.probabilities, abs=0.05)
        assert prediction.probabilities != whole.probabilities
    sixteen = [f"{number} 人で泊まりました。" for number in range(16)]
    alone = [classifier_in_int8(text).probabilities for text in sixteen]
    together = classifier_in_int8([*["駅から近くて便利でした。" * 3] * 8, *sixteen])[8:]
    assert [one.probabilities for one in together] == [pytest.approx(one, abs=1e-4) for one in alone]


def test_predict_starts_without_what_it_does_not_need(run):
    """Each of these takes from a tenth of a second to a whole one to import."""
    code = (
        "import sys; from tezukuri.scripts import predict; predict.main(['--model', sys.argv[1], '駅から近い。']); "
        "print([m for m in ('torch._dynamo', 'huggingface_hub', 'sklearn', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run / "model")], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_freed_memory_stays_with_the_process():
    code = """
import resource, torch
from tezukuri.scripts.command import keep_freed_memory
for act in (lambda: None, keep_freed_memory):
    act()
    for _ in range(5):
        blocks = [torch.ones(10_000_000) for _ in range(2)]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        del blocks
        blocks = [torch.ones(10_000_000) for _ in range(2)]
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert 5 * kept < given_back, done.stdout


def test_a_stopped_run_is_resumed_to_the_same_bits(run, voted_reviews, tmp_path, monkeypatch, capsys):
    write = finetune.write_csv

    def pull_the_plug(path, rows):
        write(path, rows)
        if len(rows) == 2:  # the model as it came, and the first epoch of two
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finetune, "write_csv", pull_the_plug)
        arguments = [*TRAINING, "--data", str(voted_reviews), "--epochs", "2", "--output-dir", str(tmp_path)]
        assert command(["finetune", *arguments]) == 130
    assert f"tezukuri finetune --resume {only_run(tmp_path)}" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    cut = only_run(tmp_path)
    assert (cut / "checkpoint.pt").is_file() and not (cut / "model").exists()
    assert command(["finetune", "--resume", str(cut)]) == 0
    assert {path.name for path in cut.iterdir()} == FILES
    assert (cut / "predictions-test.jsonl").read_bytes() == (run / "predictions-test.jsonl").read_bytes()
    mine, other = (load_file(folder / "model" / "model.safetensors") for folder in (cut, run))
    assert mine.keys() == other.keys() and all(mine[name].equal(other[name]) for name in mine)


def test_a_resumed_run_keeps_the_regularizers_that_it_was_started_with(some_reviews, tmp_path, monkeypatch):
    """Also one that was started when the recipe had others: here none, and no word of it in its options."""
    arguments = [*TRAINING, f"--data={some_reviews}", "--epochs=2", "--regularizer=none", "--save-model=none"]
    monkeypatch.setattr(finetune, "judge_and_save", lambda *_: 1 / 0)  # stop when the epochs are over
    with pytest.raises(ZeroDivisionError):
        command(["finetune", *arguments, "--output-dir", str(tmp_path)])
    monkeypatch.undo()
    run = only_run(tmp_path)
    told = json.loads((run / "config.json").read_text(encoding="utf-8"))
    told["options"]["regularizer"] = None
    (run / "config.json").write_text(json.dumps(told), encoding="utf-8")
    assert command(["finetune", "--resume", str(run)]) == 0
    assert "train_r-drop" not in (run / "log.csv").read_text(encoding="utf-8")


def test_what_cannot_be_resumed_is_told(run, tmp_path, capsys):
    for arguments, message in (
        (["--resume", str(tmp_path)], "is no run: it has no config.json"),
        (["--resume", str(run)], "has no checkpoint.pt: it ended"),
        (["--resume", str(run), "--epochs", "9"], "leave out --epochs"),
    ):
        assert command(["finetune", *arguments]) == 1
        assert message in capsys.readouterr().err
    other = tmp_path / "other"
    shutil.copytree(run, other)
    (other / "checkpoint.pt").write_bytes(b"")
    told = json.loads((other / "config.json").read_text())
    told["data"]["sha256"] = "0"
    (other / "config.json").write_text(json.dumps(told))
    assert command(["finetune", "--resume", str(other)]) == BeginAnewError.exit_status
    assert "the data is not what" in capsys.readouterr().err
    shutil.copy(run / "config.json", other)
    assert command(["finetune", "--resume", str(other)]) == BeginAnewError.exit_status
    assert "checkpoint.pt cannot be read" in capsys.readouterr().err


def test_ones_own_table_with_bad_rows_and_other_labels(tmp_path, capsys):
    lines = ["review,stars", *(f"とても良い部屋 {i},5" for i in range(12)), *(f"ひどい接客 {i},1" for i in range(12))]
    lines[5:5] = [",5", "三列,5,余り"]
    table = tmp_path / "mine.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    arguments = ["finetune", "--model", "scratch", "--data", str(table), "--text-column", "review"]
    arguments += ["--label-column", "stars", "--epochs", "1", "--output-dir", str(tmp_path / "out")]
    assert command(arguments) == 1
    assert "mine.csv:6" in capsys.readouterr().err
    assert command([*arguments, "--bad-rows", "skip"]) == 0
    run = only_run(tmp_path / "out")
    assert [row["line"] for row in rows_of(run / "bad-rows.jsonl")] == [6, 7]
    assert json.loads((run / "model" / "config.json").read_text())["label2id"] == {"1": 0, "5": 1}


def test_training_texts_that_a_file_lists_are_left_out(tmp_path):
    data = Plan().read_data()
    first, second = data.split("train")[:2]
    dev = data.split("dev")[0]
    listed = tmp_path / "suspects.csv"
    listed.write_text(f"split,id,text\ntrain,{first.id},x\ndev,{dev.id},y\ntrain,{second.id},z\n", encoding="utf-8")
    plan = Plan(leave_out=str(listed))
    without = plan.read_data()
    assert [e.id for e in without.split("train")] == [e.id for e in data.split("train")][2:]
    assert without.split("dev") == data.split("dev") and without.split("test") == data.split("test")
    assert without.notes[-1] == "2 training texts left out, listed in suspects.csv"
    listed.write_text(f"id\n{second.id}\n{dev.id}\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"suspects\.csv:3: no training text of sample has the id '{dev.id}'"):
        plan.read_data()
    listed.write_text("text\nx\n", encoding="utf-8")
    with pytest.raises(DataError, match="has no column 'id'"):
        plan.read_data()


def test_a_classifier_of_other_labels_needs_reset_head(run, tmp_path, capsys):
    table = tmp_path / "mine.tsv"
    table.write_text("text\tlabel\n" + "".join(f"文{i}\t{'ab'[i % 2]}\n" for i in range(24)), encoding="utf-8")
    arguments = ["finetune", "--model", str(run / "model"), "--data", str(table), "--epochs", "1"]
    arguments += ["--output-dir", str(tmp_path / "out")]
    assert command(arguments) == 1
    assert "it needs a new head: fine-tune it with one (tezukuri finetune --reset-head)" in capsys.readouterr().err
    assert command([*arguments, "--reset-head"]) == 0
    assert "its head was reset" in capsys.readouterr().out
    assert not (only_run(tmp_path / "out") / "checkpoint.pt").exists()


def test_the_options_reach_the_run(voted_reviews, tmp_path):
    arguments = [
        *["--model", "scratch", "--data", str(voted_reviews), "--output-dir", str(tmp_path)],
        *["--epochs", "5", "--patience", "1", "--select", "best-loss", "--save-model", "none", "--no-checkpoint"],
        *["--label-smoothing", "0.1", "--class-weights", "balanced", "--accumulate", "2", "--warmup-steps", "3"],
        *["--hidden-dropout", "0", "--attention-dropout", "0.2", "--classifier-dropout", "0.3", "--lr", "1e-9"],
        *["--max-length", "6", "--truncation", "head_tail", "--attention", "eager", "--no-report"],
    ]
    assert command(["finetune", *arguments]) == 0
    run = only_run(tmp_path)
    assert {path.name for path in run.iterdir()} == FILES - {"model"}
    told = json.loads((run / "config.json").read_text(encoding="utf-8"))
    settings = told["settings"]
    own = ["label-smoothing:epsilon=0.1", "class-balanced:beta=1"]
    assert settings["regularizers"] == ["r-drop", "judge-votes", *own]
    assert settings["accumulate"] == 2
    assert (settings["warmup_steps"], settings["max_length"], settings["truncation"]) == (3, 6, "head_tail")
    assert told["data"]["truncated_share"]["train"] > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "no/such/folder", "--data", "sample"], "there is no folder no/such/folder"),
        (["--model", "scratch", "--data", "nothing.csv"], "'nothing.csv' is not a file"),
        (["--model", "scratch", "--data", "sample", "--lr", "0"], "lr is 0.0; it must be a number above 0"),
        (["--model", "scratch", "--data", "sample", "--precision", "fp16", "--device", "cpu"], "fp16 is for CUDA"),
        (["--model", "some/model", "--data", "sample", "--tokenizer", "x"], "--tokenizer is for --model scratch"),
        (["--model", "scratch", "--data", "sample", "--data-path", "x.tsv"], "--data-path is for --data jrte"),
        (["--model", "some/model", "--data", "sample"], "some/model is not in the cache and HF_HUB_OFFLINE is set"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(["finetune", *arguments]) == 1
    error = capsys.readouterr().err.strip()
    assert message in error and len(error.splitlines()) == 1 and error.startswith("finetune: error: ")
    assert not (tmp_path / "outputs").exists()


def test_files_are_found_again_when_a_run_is_resumed_from_elsewhere(tmp_path, monkeypatch):
    rows = "".join(f"{'良い悪い'[i % 2 * 2 :][:2]}部屋 {i},{i % 2}\n" for i in range(30))
    (tmp_path / "mine.csv").write_text("text,label\n" + rows, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(finetune, "judge_and_save", lambda *_: 1 / 0)  # stops after training
        with pytest.raises(ZeroDivisionError):
            command(["finetune", "--model", "scratch", "--data", "mine.csv", "--epochs", "1"])
    run = only_run(tmp_path / "outputs")
    monkeypatch.chdir(run)
    assert command(["finetune", "--resume", "."]) == 0
    assert {path.name for path in run.iterdir()} >= FILES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "toaster"], "device 'toaster' is not known"),
        (["--device", "meta"], "device 'meta' is not known"),  # which torch knows
        (["--device", "cuda:77"], "there is no cuda:77 here: torch sees"),
        (["--file", "nothing.txt"], "no such file: nothing.txt"),
        (["--file", "x", "よい"], "texts come as arguments, or from --file"),
    ],
)
def test_what_predict_cannot_do_is_told(run, arguments, message, capsys):
    assert command(["predict", "--model", str(run / "model"), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_only_a_trained_classifier_is_evaluated_and_used(run, tmp_path, capsys):
    checkpoint(tmp_path / "encoder", "BertForMaskedLM")
    for script in ("evaluate", "predict"):
        arguments = [script, "--model", str(tmp_path / "encoder"), "--labels", "negative,normal,positive"]
        assert command(arguments + (["--data", "sample"] if script == "evaluate" else ["よい"])) == 1
        assert "is no trained classifier (it lacks bert.pooler.dense.weight" in capsys.readouterr().err


def test_numbers_and_labels_that_cannot_be_are_refused_at_once(capsys):
    for arguments in (
        ["predict", "--model", "x", "--batch-size", "0"],
        ["predict", "--model", "x", "--labels", "a,a"],
        ["evaluate", "--model", "x", "--max-length", "-1"],
        ["evaluate", "--model", "x", "--labels", "a,,b"],
        ["finetune", "--epochs", "0"],
    ):
        with pytest.raises(SystemExit) as caught:
            command(arguments)
        assert caught.value.code == 2 and "error: argument --" in capsys.readouterr().err
    assert label_list("negative, normal , positive") == list(LABELS)


def test_pipes_carry_utf8_whatever_the_system_writes(run, tmp_path):
    """As on Windows: output into a file or a pipe, with a text that the system's own encoding lacks."""
    program = "from tezukuri.scripts.command import main; raise SystemExit(main())"
    answer = subprocess.run(
        [sys.executable, "-c", program, "predict", "--model", str(run / "model"), "--format", "jsonl", "よい👍한글"],
        env=os.environ | {"PYTHONIOENCODING": "cp932", "PYTHONUTF8": "0"},
        capture_output=True,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout.decode("utf-8"))["text"] == "よい👍한글"


def test_who_stops_reading_stops_predict_quietly(run):
    program = "from tezukuri.scripts.command import main; raise SystemExit(main())"
    lines = subprocess.Popen(
        [sys.executable, "-c", program, "predict", "--model", str(run / "model"), *["よい" * 40] * 600],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    lines.stdout.readline()
    lines.stdout.close()
    assert lines.wait(timeout=120) == 0 and lines.stderr.read() == b""
    lines.stderr.close()


def test_the_command_lists_its_scripts(capsys):
    assert command(["--help"]) == 0 and command(["nonsense"]) == 2
    assert "finetune" in capsys.readouterr().out


def test_the_next_commands_are_told_as_a_shell_would_find_them(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    assert Path(command_line()) == Path(".venv", "bin", "tezukuri")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Path(command_line()) == tmp_path / ".venv" / "bin" / "tezukuri"
    name = tmp_path / ("tezukuri.exe" if sys.platform == "win32" else "tezukuri")
    name.touch(0o755)
    assert command_line() == "tezukuri"


def test_a_random_encoder_learns_jrte(data_folder, tmp_path):
    """One epoch of a new model, to see the real data go through: more than the 60.8 % of the largest class."""
    folder = data_folder / "data"
    arguments = ["--model", "scratch", "--data", "jrte", "--data-path", str(folder / "jrte" / "pn.tsv")]
    arguments += ["--tokenizer", str(folder / "tohoku-v3"), "--lr", "1e-3", "--epochs", "1", "--save-model", "none"]
    arguments += ["--no-report", "--no-checkpoint"]
    assert command(["finetune", *arguments, "--output-dir", str(tmp_path)]) == 0
    assert json.loads((only_run(tmp_path) / "test-metrics.json").read_text())["accuracy"] > 0.68


def test_regularizers_have_their_columns_in_the_log(some_reviews, tmp_path):
    arguments = [*TRAINING, f"--data={some_reviews}", "--epochs=1", "--no-checkpoint", "--save-model=none"]
    arguments.append(f"--output-dir={tmp_path}")
    asked = ["--regularizer=r-drop", "--regularizer=fgm:epsilon=0.5", "--regularizer=ema"]
    assert command(["finetune", *arguments, *asked]) == 0
    run = only_run(tmp_path)
    before, after = csv.DictReader((run / "log.csv").open(encoding="utf-8"))
    assert before["train_r-drop"] == "" and float(after["train_r-drop"]) > 0
    assert json.loads((run / "config.json").read_text())["settings"]["regularizers"] == [
        a.split("=", 1)[1] for a in asked
    ]
    assert command(["finetune", *arguments, "--regularizer", "dropblock"]) == 1  # before anything is made
    assert only_run(tmp_path) == run


@pytest.mark.parametrize(
    ("asked", "voted", "expected"),
    [
        ([], True, ("r-drop", "judge-votes")),
        ([], False, ("r-drop",)),
        (["--regularizer", "none"], True, ()),
        (["--regularizer", "ema", "--regularizer", "fgm"], True, ("ema", "fgm")),
        (["--label-smoothing", "0.1"], False, ("r-drop", "label-smoothing:epsilon=0.1")),
        (["--regularizer", "none", "--class-weights", "balanced"], False, ("class-balanced:beta=1",)),
        (["--recipe", "course"], True, ()),
    ],
)
def test_the_recipes_regularizers_are_there_until_others_are_named(asked, voted, expected):
    plan = plan_of(Plan, finetune_script.parser().parse_args(asked))
    assert plan.settings(voted=voted).regularizers == expected


def test_regularizers_are_listed(capsys):
    assert command(["finetune", "--list-regularizers"]) == 0
    assert "r-drop:weight=1" in capsys.readouterr().out
