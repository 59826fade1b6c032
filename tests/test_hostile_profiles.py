"""A profile of one's own that makes no experiment is refused in one line, before anything is trained for it."""

import pytest

from helpers import paths
from helpers.chapters.profiles import PROFILES, find_profile
from helpers.chapters.ready import refuse_unbuildable, refuse_unready
from helpers.report.kernel import UsageError
from helpers.zoo import __main__ as zoo

RISING = "two or more whole numbers of 1 or more are needed, each above the one before, got"
UNEQUAL = "two unequal whole numbers of"

# What a file says, and a part of the answer.
HOSTILE = [
    *((f"sizes = {value}", f"mine.toml, sizes: {RISING}") for value in (
        "[]", "[16]", "[0, 16]", "[-4, 16]", "[64, 16]", "[16, 16]", "[16.5, 64]", "[true, 64]", '["16", "64"]')),
    ("sizes = 16", "mine.toml, sizes: a list is needed, got 16"),
    ("sizes = [16, 1000000]", "fashion-mnist has 32768 images to train on, but profile 'mine' wants 1000000 (sizes, few, "
                              "half): set these lower in its file, or add images"),
    *((f"widths = {value}", f"mine.toml, widths: {UNEQUAL} 1 or more") for value in (
        "[16]", "[8, 16, 32]", "[0, 16]", "[-8, 16]", "[16, 16]")),
    ("widths = [7, 9]", "model unet9-n4-s0 cannot be built: the noise level is told by pairs of a sine and a cosine"),
    *((f"seeds = {value}", f"mine.toml, seeds: {UNEQUAL} 0 or more") for value in (
        "[0]", "[0, 0]", "[-1, 0]", "[0, 1, 2]", '["a", "b"]')),
    *((f"{name} = {value}", f"mine.toml, {name}: a whole number of {least} or more is needed, got {value}")
      for name, least in (("half", 1), ("samples", 2), ("solver_steps", 1), ("held_out", 2), ("grid", 2), ("align_steps", 1))
      for value in (least - 1, -3)),
    *((f"samples = {value}", "mine.toml, samples: a whole number is needed, got") for value in (
        "12.5", "nan", "true", '"12"', "2024-01-01", "[12]")),
    ("half = 100000", "wants 200000 (sizes, few, half)"),
    ("held_out = 1000000", "fashion-mnist has 10000 images to test on, but profile 'mine' wants 1000000 (held_out)"),
    ("few = []", "mine.toml, few: one or more whole numbers"),
    ("few = [0]", "mine.toml, few: one or more whole numbers"),
    ("few = [1000000]", "wants 1000000 (sizes, few, half)"),
    ('dataset = "nowhere"', "choose from fashion-mnist, glyphs, cifar10, cifar100, or a folder of images"),
    ('dataset = ""', "holds no images"),
    ("dataset = 3", "mine.toml, dataset: a text is needed, got 3"),
    ('dataset = "other.toml"', "other.toml is a file, not a folder"),
    ("[options]\nwidth = 3", "mine.toml, options: a list is needed"),
    ('options = ["multipliers", 3]', "mine.toml, options: pairs of a name and a value are needed"),
    *((f"{text} {{a = 1}}{end}", "options are pairs of a name and a value, each name once") for text, end in (
        ('options = [["width",', "]]"), ('options = [["patch",', "]]"), ('objective_options = [["p_mean",', "]]"),
        ("[systems.cnn]\nwidth =", ""))),
    ('options = [["color", 3]]', "network 'unet' has no option color; it has image_channels"),
    ('options = [["multipliers", []]]', "cannot be built: levels must be a whole number of 1 or more, got 0"),
    ('options = [["multipliers", [0, 1]]]', "choose a width of 4, or a multiple of 8"),
    ('objective_options = [["q", 1.0]]', "objective 'edm' has no option q; it has sigma_data, p_mean, p_std"),
    ('objective_options = [["p_mean", "a"]]', "sigma_data, p_mean and p_std are numbers"),
    ('objective_options = [["p_std", -1.0]]', "sigma_data, p_mean and p_std are numbers, the first and the last above 0"),
    ('device = "tpu"', "mine.toml, device: 'tpu' is no device: cpu, cuda, cuda:N or mps is needed"),
    ('device = ""', "mine.toml, device: '' is no device: cpu, cuda, cuda:N or mps"),
    ("device = 0", "mine.toml, device: a text is needed, got 0"),
    ('device = "cuda:999"', "torch sees"),
    ('descriptor = "nothing.pt"', "nothing.pt is missing: put SSCD's TorchScript file there"),
    ('descriptor = "."', "is missing: put SSCD's TorchScript file there"),
    ('descriptor = "other.toml"', "other.toml is damaged"),
    *((f"threshold = {value}", "mine.toml, threshold: a similarity from -1 to 1 is needed") for value in (
        "-2.0", "2.0", "nan", "inf")),
    ('threshold = "high"', "mine.toml, threshold: a number is needed, got 'high'"),
    ('zoo = "other.toml"', "other.toml is a file, and outputs need a folder"),
    ("zoo = 3", "mine.toml, zoo: a text is needed, got 3"),
    ('name = "a/b"', "mine.toml, name: the name of a file is needed"),
    ('name = " "', "mine.toml, name: the name of a file is needed"),
    ("recipe = 3", "mine.toml, recipe: a table is needed, got 3"),
    ("[[recipe]]\nsteps = 3", "mine.toml, recipe: a table is needed"),
    ("[recipe]\nlr = 0.1", "mine.toml, recipe: no field lr; there are batch, beta1"),
    ('[recipe]\nbf16 = "yes"', "mine.toml, recipe, bf16: true or false is needed, got 'yes'"),
    *((f"[recipe]\n{line}", f"a recipe's {line.split()[0]} must be") for line in (
        "steps = 0", "batch = 0", "rate = -1.0", "rate = nan", "ema = 2.0", "beta1 = 1.5", "warmup = -3", 'decay = "wobbly"',
        "muon = -1.0")),
    ("[systems]\nfoo = 1", "mine.toml, systems: no field foo; there are cnn"),
    ("[systems]\nrounds = []", "mine.toml, systems.rounds: whole numbers of 1 or more are needed, each below"),
    ("[systems]\nrounds = [4, 8]", "mine.toml, systems.rounds: whole numbers of 1 or more are needed"),
    ("[systems.cnn]\nwdith = 3", "network 'cnn' has no option wdith; it has image_channels, width"),
    ("[systems.uvit]\ndim = 96\ndepth = 3\nheads = 5", "heads must divide dim"),
    ("[systems.uvit]\ndim = 96\ndepth = -3\nheads = 3", "depth must be a whole number of 0 or more, got -3"),
    ("[systems.mlp]\nwidth = 0", "width must be a whole number of 1 or more, got 0"),
    ("[finetuning]\nx = 1", "mine.toml, finetuning: no field x; there are few, pool"),
    ("[finetuning]\npool = 0", "mine.toml, finetuning.pool: a whole number of 1 or more is needed, got 0"),
    ("[finetuning]\nsizes = []", "mine.toml, finetuning.sizes: one or more whole numbers"),
    ("[finetuning]\nsizes = [1000000]", "wants 1000000 (finetuning.sizes, few)"),
    ('[finetuning]\nsource = ["fashion-mnist"]', "mine.toml, finetuning.source: a dataset and a list of classes"),
    ('[finetuning]\nsource = ["fashion-mnist", [99]]', "fashion-mnist has no class [99]"),
    ('[finetuning]\ntarget = ["nowhere", []]', "unknown dataset 'nowhere'"),
    *((f"base = {value}", "mine.toml: base is one of laptop, smoke, paper, not") for value in (
        '"huge"', '"mine.toml"', "3", "[]", "{}")),
    ("sizes = [", "mine.toml is no TOML file"),
    ("samples = 3\nsamples = 4", "mine.toml is no TOML file"),
]


@pytest.fixture
def mine(tmp_path):
    """Writes mine.toml, beside another file: its path."""
    (tmp_path / "other.toml").write_text("samples = 3")

    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text if text.startswith("base") else f'base = "smoke"\n{text}')
        return str(path)
    return write


@pytest.mark.parametrize("text, words", HOSTILE, ids=[text.replace("\n", " ") for text, _ in HOSTILE])
def test_it_is_one_line_before_the_work(mine, capsys, text, words):
    path = mine(text)
    with pytest.raises(UsageError) as error:
        refuse_unready(path, paths.NOTEBOOKS)
    assert words in str(error.value) and "\n" not in str(error.value)
    code, errors = zoo.main(["list", "--profile", path]), capsys.readouterr().err       # reads it too, and needs less of it
    assert (code, errors.count("\n")) in ((0, 0), (1, 1), (2, 1)) and (not errors or errors.startswith("error: "))


def test_what_makes_sense_is_ready(mine):
    for text in ("", "widths = [4, 16]\nseeds = [5, 3]", "threshold = 1", "[recipe]\nseed = 7", 'options = [["patch", 1]]'):
        refuse_unready(mine(text), paths.NOTEBOOKS)
    assert find_profile(mine('name = "my photographs"')).name == "my photographs"


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_every_model_of_the_books_profiles_can_be_built(profile):
    refuse_unbuildable(profile)
