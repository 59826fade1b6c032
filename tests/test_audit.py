"""python -m helpers.audit on models whose answers are known: a memorizing one, a linear one, and two shipped networks."""

import re
import sys
import types

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from PIL import Image

from helpers import paths
from helpers.adapters import from_callable
from helpers.audit import __main__ as command
from helpers.audit.measures import LowRankGaussian, audit
from helpers.audit.rulers import Pixels, choose_ruler
from helpers.audit.subjects import load_subject
from helpers.closed_form import EmpiricalDenoiser, GaussianDenoiser
from helpers.data import load
from helpers.measure.descriptor import DescriptorSpec

SMALL = ["--samples", "24", "--steps", "8"]


def pictures(n, channels, size, seed):
    """Smooth random images with a few strong patterns: uint8 (n, H, W, C)."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, channels, 3, 3, generator=g)
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    return ((smooth * 0.4).clamp(-1, 1) * 127.5 + 127.5).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def folder_of(path, channels=1, size=8, train=20, test=40):
    for part, n, seed in (("train", train, 0), ("test", test, 1)):
        for k, pixels in enumerate(pictures(n, channels, size, seed)):
            file = path / part / "ab"[k % 2] / f"{k:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.squeeze(pixels)).save(file)
    return f"{path}@{channels}x{size}x{size}"


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A reader's module, `mine`, and a reader's folder of images."""
    data, module = folder_of(tmp_path / "images"), types.ModuleType("mine")
    module.memorizing = lambda: EmpiricalDenoiser(load(data, "train").images)
    module.linear = lambda: GaussianDenoiser.fit(load(data, "train").images)
    module.bare = lambda: module.linear().forward
    module.classes = lambda: from_callable(lambda x, sigma, label: 0 * x + label.view(-1, 1, 1, 1) - 0.5, classes=2)
    module.one_class = lambda: from_callable(lambda x, sigma, label: x, classes=1)
    module.broken = lambda: 1 / 0
    module.number = lambda: 7
    module.cropped = lambda: lambda x, sigma: x[..., :4]
    module.nan = lambda: lambda x, sigma: x * torch.nan
    monkeypatch.setitem(sys.modules, "mine", module)
    return data


def run(capsys, *words):
    code = command.main(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err.splitlines()


def test_a_memorizing_model_is_found_and_a_linear_one_is_not(mine, capsys, tmp_path):
    page = tmp_path / "audit.html"
    code, out, errors = run(capsys, "--model", "mine:memorizing", "--model", "mine:linear", "--data", mine, *SMALL,
                            "--html", str(page))
    assert code == 0 and not errors
    assert "A memorizes: most of its samples are copies" in out and "B shows no copies beyond" in out
    assert "does not fit images 1x8x8: RP and GL are not measured" in out and "sscd_disc_large" in out
    assert re.search(r"null: A and B, other noises +0\.\d+ .* not measured", out) and "nan" not in out
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == text.count("<img alt=") == 4
    assert not re.findall(r"(?:src|href)=.(?!data:)", text) and "<script" not in text and "memorizes" in text


def test_its_numbers(mine):
    subjects = [load_subject(name, f"mine:{kind}", mine) for name, kind in (("A", "memorizing"), ("B", "linear"))]
    held_out = load(mine, "test")
    found = audit(subjects, held_out.images, held_out.labels, choose_ruler(held_out.images, mine), samples=24, steps=12)
    a, b = found.copies["A"], found.copies["B"]
    assert a.memorized.value > 0.9 and b.memorized.value < 0.2 and a.control.value < 0.2 and a.gl is None
    nearest = as_float(subjects[0].images[a.index[:, 0]])
    assert ((found.comparison.images["A"] - nearest).flatten(1).norm(dim=1) - a.distance[:, 0]).abs().max() < 1e-4
    rates = {name: agreement.identified.value for name, agreement in found.agreement.items()}
    assert rates["linear baseline: B and the Gaussian denoiser"] == 1                # it is that denoiser
    assert rates["null: A and B, other noises"] < 0.3 < rates["A and B"]
    assert rates["ceiling: A and its solution in 3 times as many steps"] > 0.8
    # Each closed form has no excess over itself, and both have over the other.
    ea, eb = found.errors["A"], found.errors["B"]
    torch.testing.assert_close(ea.train, ea.optimal)
    torch.testing.assert_close(eb.held_out, eb.gaussian)
    assert (eb.train > eb.optimal).all() and (ea.held_out > ea.gaussian)[:4].all()


def as_float(images):
    return images.float() / 127.5 - 1


def test_two_seeds_of_a_shipped_network(capsys, monkeypatch):
    monkeypatch.setattr(command, "load", lambda name, split: load(name, split).first(300))
    a, b = (next(paths.ZOO.glob(f"unet16-n16-s{seed}-*.safetensors")).name for seed in (0, 1))
    code, out, errors = run(capsys, "--model", a, "--model", str(paths.ZOO / b), "--data", "fashion-mnist", "--samples", "8",
                            "--steps", "6")
    assert code == 0 and not errors and "the shipped descriptor, and two are the same above a similarity of 0.88." in out
    assert len(re.findall(r"^[AB] +\S*unet16-n16-\S+ +1x28x28 +16 ", out, re.M)) == 2
    rows = dict(re.findall(r"^(A and B|null|linear baseline|ceiling).*?  +(\d\.\d\d) \[", out, re.M))
    assert float(rows["null"]) <= float(rows["A and B"]) and float(rows["ceiling"]) >= 0.5
    gl_and_ceiling = re.findall(r"(\d\.\d\d) \[[^]]+\]", re.search(r"^copies of .*?\n\n", out, re.M | re.S | re.I).group())
    copies, control, gl, ceiling = map(float, gl_and_ceiling[:4])
    assert copies > 0.5 > control and gl < 0.5 and ceiling > 0.9                     # 16 images are learned by heart


def test_a_pipeline_of_color_images(tmp_path, capsys):
    data = folder_of(tmp_path / "images", channels=3, train=8, test=8)
    unet = UNet2DModel(sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, norm_num_groups=4,
                       block_out_channels=(4, 8), down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2)
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "mine")
    page = tmp_path / "page.html"
    words = ["--model", str(tmp_path / "mine"), "--samples", "4", "--steps", "3"]
    code, out, errors = run(capsys, *words, "--data", data, "--html", str(page))
    assert code == 0 and not errors and "does not fit images 3x8x8" in out and page.exists()
    assert re.search(r"A +\S+ +3x8x8 +8 ", out) and "null: A and A, other noises" in out
    code, out, errors = run(capsys, *words, "--data", data.replace("3x8x8", "1x8x8"))
    assert code == 1 and len(errors) == 1 and "draws images (3, 8, 8)" in errors[0] and "@3x8x8" in errors[0]


def test_a_model_that_needs_labels_gets_the_classes_in_turn(mine):
    held_out = load(mine, "test")
    found = audit([load_subject("A", "mine:classes", mine)], held_out.images, held_out.labels,
                  choose_ruler(held_out.images, mine), samples=6, steps=3)
    assert found.comparison.images["A"].flatten(1).mean(1).tolist() == [-0.5, 0.5] * 3


def test_the_linear_baseline_of_large_images_is_the_one_of_small_images():
    images = torch.rand(12, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    z = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    low, full = LowRankGaussian(images), GaussianDenoiser.fit(images)
    torch.testing.assert_close(low(z, 0.7), full(z, 0.7), atol=1e-5, rtol=0)
    torch.testing.assert_close(low.flow(z, 80.0), full.flow(z, 80.0), atol=1e-4, rtol=0)


def test_the_ruler_fits_or_says_so(tmp_path):
    clothes, large = torch.zeros(3, 1, 28, 28), torch.rand(3, 3, 8, 8)
    shipped, pixels = choose_ruler(clothes, "fashion-mnist"), choose_ruler(large, "x")
    assert (shipped.threshold, shipped.remark) == (0.88, "") and "trained on clothes" in choose_ruler(clothes, "x").remark
    assert pixels.threshold is None and isinstance(pixels.descriptor, Pixels)
    assert pixels.descriptor(large).norm(dim=1).tolist() == pytest.approx([1, 1, 1])
    assert choose_ruler(clothes, "x", str(paths.ZOO / DescriptorSpec().file), 0.7).threshold == 0.7


@pytest.mark.parametrize("words, says", [
    (["--model", "mine:broken"], "mine:broken gives no model (ZeroDivisionError: division by zero)"),
    (["--model", "mine:absent"], "mine:absent gives no model (AttributeError"),
    (["--model", "nowhere:f"], "nowhere:f gives no model (ModuleNotFoundError"),
    (["--model", "mine:number"], "mine:number returns int"),
    (["--model", "mine:cropped"], "model A fails on images (1, 8, 8) (asked about images (2, 1, 8, 8)"),
    (["--model", "mine:nan"], "model A answers images (1, 8, 8) with something else, or with NaN"),
    (["--model", "mine:one_class"], "the data have classes up to 1, and model A knows 0 to 0"),
    (["--model", "nothing"], "there is no model 'nothing'"),
    (["--model", "absent.safetensors"], "absent.safetensors is missing"),
    (["--model", DescriptorSpec().file], "holds no model of the zoo"),
    (["--model", "mine:bare", "--model", "mine:bare", "--model", "mine:bare"], "one or two models"),
    (["--model", "mine:bare", "--train", "99"], "has 20 images"),
    (["--model", "mine:bare", "--samples", "1"], "2 samples"),
    (["--model", "mine:bare", "--steps", "0"], "need whole steps >= 1"),
    (["--model", "mine:bare", "--descriptor", "absent.pt"], "absent.pt is missing"),
    (["--model", "mine:bare", "--html", "."], "is a folder"),
    (["--model", "mine:bare", "--data", "absent"], "absent"),
])
def test_what_is_wrong_is_one_line(mine, capsys, words, says):
    code, out, errors = run(capsys, "--data", mine, *words)
    assert code != 0 and not out and len(errors) == 1 and errors[0].startswith("error: ") and says in errors[0], errors


def test_a_model_of_the_zoo_knows_its_data(mine, capsys, tmp_path):
    name = next(paths.ZOO.glob("unet16-n16-s0-*.safetensors")).name
    code, _, errors = run(capsys, "--model", name, "--data", mine)
    assert code == 1 and errors == [f"error: model A learned from fashion-mnist, not from {mine}: give --data fashion-mnist"]
    other = tmp_path / "other.safetensors"
    other.write_bytes((paths.ZOO / name).read_bytes())
    code, _, errors = run(capsys, "--model", str(other), "--data", "fashion-mnist")
    assert code == 1 and len(errors) == 1 and f"holds the model {name}: give it back its name" in errors[0]
