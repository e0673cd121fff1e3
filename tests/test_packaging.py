"""A wheel, built from the checkout's files and installed alone in a new environment, does the whole job there."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from checkout import ROOT, files, modules, package_files

from tezukuri.scripts.command import SCRIPTS


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints, run away from the checkout."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=env | {"PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    for path in files():
        copy = folder / "source" / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, copy)
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index")
    run(*pip, "-w", folder, folder / "source", cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """An environment with the wheel, its console command, and a folder to work in.

    What tezukuri requires is read from where this Python has it: a plain path in a .pth file, which leaves the .pth
    files over there (an editable install's among them) unread.
    """
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", symlinks=os.name != "nt", with_pip=False)
    binaries = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = binaries / Path(sys.executable).name
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel, cwd=folder)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    Path(site, "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return SimpleNamespace(python=python, tezukuri=binaries / "tezukuri", site=Path(site), cwd=folder)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        metadata = next(archive.read(name).decode("utf-8") for name in names if name.endswith(".dist-info/METADATA"))
    code = {name for name in names if ".dist-info/" not in name}
    assert code == {f"tezukuri/{path.as_posix()}" for path in package_files()}
    assert {"tezukuri/py.typed", "tezukuri/data/sample/reviews.tsv", "tezukuri/weights/mini/model.safetensors"} <= code
    assert not any(name.startswith(("tezukuri/tests/", "tezukuri/benchmarks/", "tezukuri/build/")) for name in code)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert (
        "\nLicense-Expression: Apache-2.0 AND CC-BY-SA-4.0 AND CC0-1.0 AND MIT\n" in metadata
        and "\nRequires-Dist: torch>=" in metadata
    )


def test_every_module_can_be_imported_where_the_wheel_is_installed(installed: SimpleNamespace):
    code = f"""
import importlib, importlib.metadata, sys, tezukuri
assert "torch" not in sys.modules
assert tezukuri.__version__ == importlib.metadata.version("tezukuri")
for name in {sorted(modules())}:
    print(importlib.import_module(name).__file__)
"""
    found = run(installed.python, "-c", code, cwd=installed.cwd).split("\n")[:-1]
    assert sorted(found) == sorted(str(installed.site / "tezukuri" / path) for path in modules().values())


def test_the_console_command_lists_its_scripts(installed: SimpleNamespace):
    printed = run(installed.tezukuri, "--help", cwd=installed.cwd)
    assert all(f"\n  {name} " in printed for name in SCRIPTS)


def test_the_console_command_has_every_script(installed: SimpleNamespace):
    """What each says of itself, in one process of the environment: most of its time it imports."""
    code = f"""
import contextlib, io, json
from tezukuri.scripts.command import main
said = {{}}
for name in {list(SCRIPTS)}:
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        main([name, "--help"])
    said[name] = printed.getvalue()
print(json.dumps(said))
"""
    said = json.loads(run(installed.python, "-c", code, cwd=installed.cwd))
    assert list(said) == list(SCRIPTS) and all(said[name].startswith(f"usage: {name} ") for name in SCRIPTS)


def test_a_model_is_made_and_used_where_the_wheel_is_installed(installed: SimpleNamespace):
    table = "".join(f"{'良い悪い'[i % 2 * 2 :][:2]}部屋でした {i},{i % 2}\n" for i in range(30))
    (installed.cwd / "mine.csv").write_text("text,label\n" + table, encoding="utf-8")
    options = ("--model", "mini", "--data", "mine.csv", "--epochs", "1", "--device", "cpu", "--output-dir", "runs")
    run(installed.tezukuri, "finetune", *options, cwd=installed.cwd)
    (model,) = installed.cwd.glob("runs/mini/*/*/model")
    printed = run(installed.tezukuri, "predict", "--model", model, "よかったです", cwd=installed.cwd)
    assert "よかったです" in printed and printed.split()[0] in ("0", "1")
    assert "</html>" in (model.parent / "report.html").read_text(encoding="utf-8")
