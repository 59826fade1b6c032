"""The benchmarks run, compare like with like, and say what they could not measure; their numbers are no test."""

import json
import math
import subprocess

import pytest
import torch

from helpers.closed_form import EmpiricalDenoiser, GaussianDenoiser
from helpers.denoiser import NetworkDenoiser
from helpers.models.objectives import EDMObjective
from helpers.paths import ROOT
from helpers.samplers import sample
from tests.bench import __main__ as bench
from tests.bench import forms, loops, peers
from tests.bench.networks import network
from tests.bench.record import Record, exponent, quartiles

QUICK = [name for name in bench.measurements("cpu") if name != "solvers: overhead"]       # its U-Net is the book's own


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")      # diffusers calls numpy in its old way


@pytest.fixture(autouse=True)
def threads():
    """The benchmarks set how many there are."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", QUICK)
def test_every_benchmark_runs_and_writes_what_it_found(name, tmp_path, capsys):
    out = tmp_path / "bench.json"
    assert bench.main(["--tiny", "--seconds", "0", "--only", name, "--out", str(out)]) == 0, capsys.readouterr().err
    content = json.loads(out.read_text())
    assert content["machine"]["torch"] == torch.__version__ and content["machine"]["cores"] >= 1 and content["date"]
    found = [*content["figures"].values(), *content["curves"].values(), *content["numbers"].values()]
    assert found and not content["failed"] and list(content["seconds"]) == [name]
    for figure in content["figures"].values():
        assert 0 < figure["low"] <= figure["ratio"] <= figure["high"] and figure["repeats"] >= 3 and figure["against"]
    for curve in content["curves"].values():
        assert len(curve["x"]) >= 3 and curve["exponent_low"] < curve["exponent"] < curve["exponent_high"]


def test_some_is_brought_up_to_date_and_another_machine_refused(tmp_path, capsys):
    out = tmp_path / "bench.json"
    words = ["--tiny", "--seconds", "0", "--out", str(out), "--only"]
    assert bench.main([*words, "gaussian"]) == 0 and bench.main([*words, "scores"]) == 0
    content = json.loads(out.read_text())
    assert {"gaussian, D = 784", "identification"} <= content["figures"].keys() and len(content["seconds"]) == 2
    out.write_text(json.dumps(content | {"machine": {"device": "another"}}))
    assert bench.main([*words, "scores"]) == 2 and "another machine" in capsys.readouterr().err


def test_help_and_wrong_usage(capsys):
    with pytest.raises(SystemExit) as end:
        bench.main(["--help"])
    assert end.value.code == 0 and "--only" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        bench.main(["--only", "nothing"])
    assert end.value.code == 2 and "no measurement has 'nothing' in its name: forms: calls" in capsys.readouterr().err


def test_without_a_gpu_one_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench.main(["--device", "cuda"]) == 2
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["error: torch sees no CUDA GPU here: nothing was checked or measured"]
    assert not captured.out


def test_make_asks_for_them():
    def shown(target: str) -> str:
        command = ["make", "--dry-run", target, "ARGS=--seconds 2"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    assert "-m tests.bench --out data/results/bench.json --seconds 2" in shown("bench")
    assert "-m tests.bench --device cuda --out data/results/bench-gpu.json --seconds 2" in shown("gpu")


def test_a_failure_leaves_its_line_and_the_others_go_on(tmp_path):
    def fails(record):
        raise RuntimeError("out of memory\nand a trace")

    record = Record(torch.device("cpu"), 0.0, tmp_path / "bench.json")
    record.run({"one": fails, "two": lambda record: record.number("two", 2.0, "")})
    content = json.loads((tmp_path / "bench.json").read_text())
    assert content["failed"] == {"one": "RuntimeError: out of memory"} and content["numbers"]["two"]["value"] == 2


def test_a_ratio_is_ours_over_the_peer_and_an_exponent_has_an_interval():
    record, x = Record(torch.device("cpu"), 0.0), torch.randn(400, 400)
    record.ratio("twice", "two products", "one", lambda: (x @ x, x @ x, x @ x), lambda: x @ x, times=1.5)
    assert 1 < record.content["figures"]["twice"]["ratio"] < 4                                # about 2
    slope, low, high = exponent([1, 2, 4, 8], [3, 12.1, 47.7, 192])
    assert low < 2 < high and abs(slope - 2) < 0.01 and high - low < 0.1
    assert all(math.isnan(value) for value in exponent([1], [1])) and quartiles([3.0]) == (3.0, 3.0, 3.0)


@pytest.mark.parametrize("who, name", [(who, name) for who in ("ours", "of_diffusers", "of_azula")
                                       for name in getattr(peers, who)()])
def test_every_solver_walks_the_same_path_to_the_same_images(who, name):
    """To the closed form's solution, at the solver's own pace: halving the steps' lengths helps, and 48 come near it."""
    x0 = torch.randn(64, 1, 6, 6, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    denoiser, z = GaussianDenoiser.fit(x0), torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    run, exact = getattr(peers, who)()[name], sample(denoiser, z, "dpmpp3m", 400)
    coarse, fine = ((run(denoiser, z, steps) - exact).abs().mean().item() for steps in (24, 48))
    assert fine < 0.04 and fine < max(0.75 * coarse, 1e-3)           # 1e-3: what float32 and the last level leave


@pytest.mark.parametrize("sigma", [10.0, 0.5])
def test_the_peers_of_the_closed_form_compute_the_same(sigma):
    images = forms.pictures(40, (1, 6, 6), torch.device("cpu"))
    x, y = forms.noisy(images, 5, sigma), images.flatten(1).float() / 127.5 - 1
    exact = forms.truth(x, images, sigma)
    for found in (forms.plain(x.flatten(1), y, sigma), forms.naive(x.flatten(1), y, sigma, 500),
                  EmpiricalDenoiser(images)(x, sigma).flatten(1)):
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-4)


def test_what_a_gpu_is_asked_holds_on_the_cpu(monkeypatch):
    """The checks of `make gpu`, on the CPU in the GPU's place: they pass, and one that cannot fail would be none."""
    small = NetworkDenoiser(network(8).eval(), EDMObjective()).requires_grad_(False)
    monkeypatch.setattr(loops, "shipped", lambda: small)
    record = Record(torch.device("cpu"), 0.0)
    loops.learning(record)
    loops.agreement(record)
    loops.waiting(record)
    checks = record.content["checks"]
    assert set(checks.values()) == {"ok"} and len(checks) > 25, checks


def test_a_device_that_computes_something_else_is_found(monkeypatch):
    record, real = Record(torch.device("cpu"), 0.0), loops.denoisers
    made = iter([real(torch.device("cpu"), 64), real(torch.device("cpu"), 32)])
    monkeypatch.setattr(loops, "denoisers", lambda device: next(made))
    monkeypatch.setattr(loops, "SOLVERS", {})
    monkeypatch.setattr(loops, "sample", lambda denoiser, z, **_: z)
    loops.agreement(record)
    assert "more than a gray level" in record.content["checks"]["agreement, EmpiricalDenoiser, one call"]
