"""What cannot be done is refused in one line before the work; what fails after the work loses nothing."""

import errno
import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest

from helpers import paths, run
from helpers.chapters import profile as chapter_profile
from helpers.report import __main__ as report_command
from helpers.report import files, record
from helpers.report.parameters import choose_parameters

HEADER = "---\nkernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}\n---\n\n# For tests\n\n"
PARAMETERS = """```{code-cell} ipython3
:tags: [parameters]

profile = "laptop"
seed = 0
rate = 0.5
fast = True
```

"""
BODY = """```{code-cell} ipython3
from helpers.report.claims import Report
report = Report(7, profile=profile, seed=seed)
```

```{code-cell} ipython3
report.close()
```
"""


@pytest.fixture
def folders(tmp_path):
    """Folders with one tiny chapter."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "07-tiny.md").write_text(HEADER + PARAMETERS + BODY)
    return run.Folders(tmp_path / "notebooks", tmp_path / "results", tmp_path / "runs")


@pytest.fixture
def no_work(monkeypatch):
    """A request that must be refused fails the test if the chapter starts."""
    monkeypatch.setattr(run, "execute", lambda *_: pytest.fail("the work began"))


def refused(folders, capsys, *argv, code=2):
    """Run with these arguments, expecting the exit code and one line: that line."""
    assert run.main([str(a) for a in argv], folders) == code
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1, message
    return message


@pytest.mark.parametrize("argv, words", [
    (["8"], "the chapters are: 7 (07-tiny)"),
    (["x"], "the chapters are: 7 (07-tiny)"),
    (["²"], "no chapter '²'; the chapters are: 7 (07-tiny)"),
    (["9" * 5000], "the chapters are: 7 (07-tiny)"),
    (["7", "-p", "sed", "1"], "unknown parameter 'sed'; this chapter knows: profile, seed, rate, fast"),
    (["7", "--profile", "huge"], "unknown profile 'huge': choose from laptop, smoke, paper"),
    (["7", "-p", "profile", "huge"], "unknown profile 'huge': choose from laptop, smoke, paper"),
    (["7", "-p", "seed", "1.5"], "'seed' is int (default 0), so '1.5'"),
    (["7", "-p", "seed", "²"], "'seed' is int (default 0), so '²'"),
    (["7", "-p", "seed", "-1"], "'seed' is a whole number from 0 to 9223372036854775807, not -1"),
    (["7", "-p", "seed", str(2**70)], f"'seed' is a whole number from 0 to 9223372036854775807, not {2**70}"),
    (["7", "-p", "rate", "fast"], "'rate' is float"),
    (["7", "-p", "rate", "nan"], "'rate' is float"),
    (["7", "-p", "fast", "perhaps"], "'fast' is bool"),
])
def test_a_wrong_request_is_one_line_and_exit_code_2(folders, no_work, capsys, argv, words):
    assert words in refused(folders, capsys, *argv)


def test_values_keep_the_type_of_the_default():
    defaults = {"seed": 0, "rate": 0.5, "fast": True, "name": "a"}
    chosen = choose_parameters(defaults, [("seed", "3"), ("rate", "1"), ("fast", "no"), ("name", "1")])
    assert chosen == {"seed": 3, "rate": 1.0, "fast": False, "name": "1"} and isinstance(chosen["rate"], float)


def test_a_default_given_by_name_is_a_default_run_and_the_last_value_counts():
    assert choose_parameters({"seed": 0}, [("seed", "0")]) == {}
    assert choose_parameters({"seed": 0}, [("seed", "3"), ("seed", "0")]) == {}


def test_outputs_that_cannot_be_written_are_refused_before_the_work(folders, no_work, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert "is a file, and outputs need a folder" in refused(folders, capsys, "7", "--out", tmp_path / "file")
    assert "Not a directory" in refused(folders, capsys, "7", "--out", tmp_path / "file" / "below")
    (tmp_path / "out" / "07-tiny.json").mkdir(parents=True)
    assert "07-tiny.json is a folder" in refused(folders, capsys, "7", "--out", tmp_path / "out")
    (tmp_path / "results").write_text("")                              # a default run writes results there
    assert "results is a file" in refused(folders, capsys, "7")


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("argv", [["7"], ["7", "-p", "seed", "3"], ["7", "--out", "out"]])
def test_a_read_only_or_full_disk_is_refused_before_the_work(folders, no_work, capsys, monkeypatch, tmp_path, argv, number):
    def refuse(self, content):
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files.Path, "write_bytes", refuse)
    assert os.strerror(number) in refused(folders, capsys, *argv)
    assert not list(tmp_path.rglob("*.part"))


def test_a_folder_without_the_right_to_write_is_refused(folders, no_work, capsys, monkeypatch, tmp_path):
    def refuse(self, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(files.Path, "mkdir", refuse)
    assert "Permission denied" in refused(folders, capsys, "7", "-p", "seed", "3")


def test_the_probe_leaves_nothing_behind(tmp_path):
    (tmp_path / "07.json").write_text("before")
    files.refuse_unwritable(tmp_path / "07.json")
    assert [p.name for p in tmp_path.iterdir()] == ["07.json"] and (tmp_path / "07.json").read_text() == "before"


def test_missing_data_descriptor_and_device_are_refused_before_the_work(folders, no_work, capsys, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(paths, "FASHION_MNIST", tmp_path)
        assert "train-images-idx3-ubyte.gz is missing: restore it from git" in refused(folders, capsys, "7")
    with monkeypatch.context() as patch:
        patch.setattr(paths, "ZOO", tmp_path)
        assert "descriptor" in (line := refused(folders, capsys, "7")) and "is missing: restore it" in line
    monkeypatch.setattr(chapter_profile.torch.cuda, "is_available", lambda: False)
    assert "needs a CUDA GPU" in refused(folders, capsys, "7", "--profile", "paper")


def test_a_file_that_the_paper_profile_needs_is_refused_before_the_work(folders, no_work, capsys, monkeypatch):
    monkeypatch.setattr(chapter_profile.torch.cuda, "is_available", lambda: True)
    assert "sscd_disc_large.torchscript.pt is missing" in refused(folders, capsys, "7", "--profile", "paper")


@pytest.mark.parametrize("cell, words", [
    ("seed = 0\nseed = = 1", "more than assignments of literals"),
    ("import os\nseed = os.getpid()", "more than assignments of literals"),
])
def test_a_chapter_whose_parameters_cannot_be_read_is_refused(folders, no_work, capsys, cell, words):
    text = HEADER + PARAMETERS.replace("seed = 0", cell) + BODY
    (folders.notebooks / "07-tiny.md").write_text(text)
    assert words in refused(folders, capsys, "7")


def test_a_profile_of_ones_own_is_found_from_where_the_command_runs(folders, monkeypatch, tmp_path):
    (tmp_path / "mine.toml").write_text(f'samples = 8\nzoo = "{tmp_path}/zoo"\n')
    monkeypatch.chdir(tmp_path)
    planned = run.plan(folders.notebooks / "07-tiny.md", [("profile", "mine.toml")], folders, None, False)
    assert planned.chosen == {"profile": str(tmp_path / "mine.toml")} and planned.ipynb.name == "07-tiny-profile-mine.ipynb"


def test_a_profile_file_that_cannot_be_read_is_refused(folders, no_work, capsys, tmp_path):
    (tmp_path / "mine.toml").write_text("samples = ")
    assert "mine.toml is no TOML file" in refused(folders, capsys, "7", "--profile", tmp_path / "mine.toml")


def test_all_chapters_are_checked_before_the_first_runs(folders, no_work, capsys):
    (folders.notebooks / "08-small.md").write_text(HEADER + PARAMETERS.replace("rate = 0.5\n", "") + BODY)
    assert "unknown parameter 'rate'" in refused(folders, capsys, "all", "-p", "rate", "1")


def test_a_final_write_that_fails_keeps_what_was_done_and_says_where(folders, capsys, monkeypatch, tmp_path):
    def full(contents):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(next(iter(contents))))

    monkeypatch.setattr(run, "replace_all", full)
    monkeypatch.setattr(run.tempfile, "tempdir", str(tmp_path))
    message = refused(folders, capsys, "7", code=1)
    kept = message.split("kept in ")[1].strip()
    assert "07-tiny ran, but" in message and "No space left on device" in message
    assert nbformat.read(f"{kept}/07-tiny.ipynb", as_version=4).cells[-1].outputs and os.path.exists(f"{kept}/07.json")


def test_a_failed_cell_whose_notebook_cannot_be_stored_is_one_line_too(folders, capsys, monkeypatch, tmp_path):
    (folders.notebooks / "07-tiny.md").write_text(HEADER + PARAMETERS + BODY.replace("report.close()", "1 / 0"))
    (tmp_path / "runs").write_text("")                                 # no folder can be made there
    monkeypatch.setattr(run.tempfile, "tempdir", str(tmp_path))
    message = refused(folders, capsys, "7", code=1)
    assert "code cell 2 failed: ZeroDivisionError" in message
    assert nbformat.read(message.split("(see ")[1].strip().rstrip(")"), as_version=4)


def test_files_are_replaced_together_or_not_at_all(tmp_path, monkeypatch):
    first, second = tmp_path / "a", tmp_path / "missing" / "b"
    first.write_text("old")
    (tmp_path / "missing").write_text("a file, so that nothing can be written below it")
    with pytest.raises(OSError):
        files.replace_all({first: "new", second: "new"})
    assert first.read_text() == "old" and {p.name for p in tmp_path.iterdir()} == {"a", "missing"}


def test_a_kernel_that_is_killed_is_one_line(folders, capsys):
    body = BODY.replace("report.close()", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    (folders.notebooks / "07-tiny.md").write_text(HEADER + PARAMETERS + body)
    assert "the kernel died" in refused(folders, capsys, "7", code=1)


def test_ctrl_c_ends_the_driver_and_its_kernel_in_one_line(folders, tmp_path):
    body = BODY.replace("report.close()", "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(300)")
    (folders.notebooks / "07-tiny.md").write_text(HEADER + PARAMETERS + body)
    code = ("import sys; from pathlib import Path; from helpers import run; "
            "sys.exit(run.main(['7'], run.Folders(*map(Path, sys.argv[1:]))))")
    places = [str(p) for p in (folders.notebooks, folders.results, folders.runs)]
    env = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(paths.ROOT)}
    driver = subprocess.Popen([sys.executable, "-c", code, *places], cwd=tmp_path, env=env, text=True,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    pid, deadline = folders.notebooks / "pid", time.monotonic() + 120
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    driver.send_signal(signal.SIGINT)
    message = driver.communicate(timeout=60)[1]
    assert driver.returncode == 130 and message == "interrupted: nothing of this chapter was stored\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert not list(folders.notebooks.glob("*.ipynb")) and not list(tmp_path.glob("07-tiny*.tmp"))


@pytest.mark.parametrize("error, words", [(OSError(errno.EROFS, "Read-only file system", "README.md"), "Read-only"),
                                          (ValueError("README.md must hold\nmarkers"), "must hold markers"),
                                          (KeyError("claims"), "lacks 'claims'")])
def test_the_reports_command_line_fails_in_one_line(monkeypatch, capsys, error, words):
    def fail():
        raise error

    monkeypatch.setattr(report_command, "update_readme", fail)
    assert report_command.main(["readme"]) == 1
    message = capsys.readouterr().err
    assert words in message and message.startswith("error: ") and message.count("\n") == 1


def test_a_damaged_results_file_costs_no_run(tmp_path):
    (tmp_path / "07.json").write_text("{")
    assert run.stored_cost(tmp_path / "07.json", "x") is None and record.read_all(tmp_path / "none") == []
