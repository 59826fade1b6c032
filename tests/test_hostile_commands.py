"""Command lines that cannot be meant: one line that says what is wrong, exit code 2 or 1, and no work begins."""

import sys

import pytest

from helpers import paths, run
from helpers.audit import __main__ as audit
from helpers.report import __main__ as report
from helpers.zoo import __main__ as zoo

MODEL = next(paths.ZOO.glob("unet16-n32768-s0-*.safetensors")).name
CLOTHES = ["--data", "fashion-mnist"]
OURS = ["--model", MODEL, *CLOTHES]

# For each command: its words, and a part of the answer. {tmp} is a folder with the files below.
HOSTILE = [
    *((run, [chapter], "the chapters are: 1 (01-reproducibility), 2 (02-two-regimes)") for chapter in (
        "", "0", "-1", "1.0", "one", "ALL", "11", "../1", "1;ls", "1\n2", "１")),
    (run, [], "required: chapter"),
    (run, ["1", "2"], "unrecognized arguments: 2"),
    (run, ["1", "--nope"], "unrecognized arguments: --nope"),
    (run, ["1", "--remeasure", "x"], "unrecognized arguments: x"),
    (run, ["1", "-p", "seed"], "expected 2 arguments"),
    (run, ["1", "-p", "", "1"], "unknown parameter ''; this chapter knows: profile, seed"),
    (run, ["1", "-p", "Seed", "1"], "unknown parameter 'Seed'; this chapter knows: profile, seed"),
    *((run, ["1", "-p", "seed", value], f"'seed' is int (default 0), so {value!r} is not a value for it") for value in (
        "", "1e3", "0x10", "[1]", "None", "True")),
    (run, ["1", "-p", "seed", "1", "-p", "seed", "x"], "'seed' is int (default 0), so 'x'"),
    (run, ["1", "-p", "seed", "1" * 400], "'seed' is a whole number from 0 to"),
    *((run, ["1", "--profile", name], f"unknown profile {name!r}: choose from laptop, smoke, paper") for name in (
        "", "LAPTOP", "laptop ", "/", "/no.toml")),
    (run, ["1", "--profile", "a" * 5000 + ".toml"], "File name too long"),
    (run, ["all", "--profile", "huge"], "unknown profile 'huge'"),
    (run, ["1", "--out", "{tmp}/file"], "file is a file, and outputs need a folder"),
    (run, ["1", "--out", ""], "argument --out: a folder's name is needed"),
    (run, ["1", "--out", "/dev/null"], "/dev/null is a file, and outputs need a folder"),
    (run, ["1", "--out", "a" * 5000], "File name too long"),
    (zoo, [], "required: action"),
    (zoo, ["nope"], "invalid choice: 'nope' (choose from"),
    (zoo, ["list", "extra"], "unrecognized arguments: extra"),
    (zoo, ["list", "--profile", ""], "unknown profile ''"),
    *((zoo, ["train", "--jobs", jobs], "invalid int value") for jobs in ("x", "1.5", "")),
    (zoo, ["train", "--jobs", "-1"], "jobs must be 1 or more"),
    *((zoo, ["rehearse", "--steps", steps], words) for steps, words in (
        ("0", "--steps must be 1 or more"), ("-1", "--steps must be 1 or more"), ("x", "invalid int value"))),
    (zoo, ["rehearse", "--profile", "smoke", "--images", "{tmp}/nothing"], "nothing is not there"),
    (zoo, ["rehearse", "--profile", "smoke", "--images", "{tmp}/empty"], "holds no images"),
    (zoo, ["rehearse", "--profile", "smoke", "--images", "{tmp}/file"], "is a file, not a folder"),
    (zoo, ["list", "--images", "x"], "--images is for rehearse"),
    (zoo, ["list", "--scheduler", "x"], "--scheduler is for train"),
    (zoo, ["train", "--scheduler", "tcp://127.0.0.1:1", "--jobs", "2"], "--scheduler is for train, without --jobs"),
    (zoo, ["train", "--scheduler", "tcp://127.0.0.1:1", "--profile", "smoke"], "no Dask scheduler answers at tcp://127.0.0.1:1"),
    (audit, ["--model", "x"], "required: --data"),
    (audit, CLOTHES, "required: --model"),
    (audit, ["--model", "x", *CLOTHES], "there is no model 'x': give a file of the zoo"),
    (audit, ["--model", "", *CLOTHES], "holds no pipeline"),
    (audit, ["--model", "{tmp}/bad.safetensors", *CLOTHES], "bad.safetensors is damaged"),
    (audit, ["--model", "{tmp}/empty", *CLOTHES], "holds no pipeline (model_index.json)"),
    *((audit, ["--model", f"{name}", *CLOTHES], words) for name, words in (
        ("nomodule:f", "No module named 'nomodule'"), ("hostile_module:nothing", "has no attribute 'nothing'"),
        ("hostile_module:number", "'int' object is not callable"), ("hostile_module:fails", "RuntimeError: boom"),
        ("hostile_module:three", "a denoiser D(x, sigma) is needed"), ("hostile_syntax:f", "SyntaxError"),
        ("hostile_module:Empty", "a denoiser D(x, sigma) is needed"),
        ("hostile_module:small", "a tensor of the same shape is needed"),
        ("hostile_module:", "gives no model"), (":f", "gives no model"), ("a:b:c", "No module named"))),
    *((audit, ["--model", MODEL, "--data", data], f"learned from fashion-mnist, not from {data}: give --data fashion-mnist")
      for data in ("nowhere", "", "glyphs", "cifar10", "fashion-mnist@x")),
    (audit, [*OURS, "--model", MODEL, "--model", MODEL], "one or two models are audited at a time, not 3"),
    *((audit, [*OURS, "--samples", n], "2 samples and 2 held-out images or more") for n in ("0", "-4", "1")),
    *((audit, [*OURS, "--train", n], "--train: the models learned from 1 image or more") for n in ("0", "-5")),
    (audit, [*OURS, "--samples", "x"], "invalid int value: 'x'"),
    *((audit, [*OURS, "--steps", n], "need whole steps >= 1") for n in ("0", "-2")),
    (audit, [*OURS, "--solver", "nope"], "invalid choice: 'nope' (choose from 'euler', 'heun'"),
    *((audit, [*OURS, "--seed", n], "seed must be a whole number from 0 to 2^64 - 1") for n in ("-1", str(2**70))),
    *((audit, [*OURS, "--threshold", t], "a threshold of similarity is in [-1, 1]") for t in ("2", "-1.5", "nan")),
    (audit, [*OURS, "--descriptor", "{tmp}/no.pt"], "no.pt is missing"),
    (audit, [*OURS, "--descriptor", "{tmp}/file"], "file is damaged"),
    *((audit, [*OURS, "--device", name], f"--device {name!r} is no device: cpu, cuda, cuda:N or mps is needed") for name in (
        "tpu", "", "cpu ", "gpu")),
    (audit, [*OURS, "--device", "cuda:99"], "CUDA GPU, and torch sees"),
    (audit, [*OURS, "--html", "{tmp}/file/x.html"], "file is a file, and outputs need a folder"),
    (audit, [*OURS, "--html", "{tmp}"], "is a folder, where the run will put a file"),
    (report, [], "required: what"),
    (report, ["nope"], "invalid choice: 'nope' (choose from 'readme', 'show'"),
    (report, ["show", "x"], "unrecognized arguments: x"),
]
MODULE = """number = 3
class Empty: pass
def three(): return 3
def fails(): raise RuntimeError("boom\\nboom")
def small():
    import torch
    return lambda x, sigma, label=None: torch.zeros(1)
"""


@pytest.fixture
def tmp(tmp_path, monkeypatch):
    """A folder of hostile files, from which Python imports."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "bad.safetensors").write_bytes(b"bad")
    (tmp_path / "hostile_module.py").write_text(MODULE)
    (tmp_path / "hostile_syntax.py").write_text("def f(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("hostile_module", "hostile_syntax"):
        sys.modules.pop(name, None)


def name_of(case):
    module, words, _ = case
    return " ".join([module.__name__.split(".")[1], *words])[:90].replace("\n", " ")


@pytest.mark.parametrize("module, words, answer", HOSTILE, ids=map(name_of, HOSTILE))
def test_it_is_one_line(tmp, capsys, monkeypatch, module, words, answer):
    monkeypatch.setattr(run, "carry_out", lambda _: pytest.fail("the work began"))
    monkeypatch.setattr(zoo, "train_all", lambda *_: pytest.fail("the work began"))
    try:
        code, by_argparse = module.main([word.replace("{tmp}", str(tmp)) for word in words]), False
    except SystemExit as error:                         # argparse's own: the last line, under the usage
        code, by_argparse = error.code, True
    lines = capsys.readouterr().err.splitlines()
    assert code in (1, 2) and answer in lines[-1]
    assert by_argparse and ": error: " in lines[-1] or len(lines) == 1 and lines[0].startswith("error: ")
