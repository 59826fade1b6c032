"""A chapter's desk: what every chapter needs before it can ask its question.

    chapter = Chapter(3, profile, seed)
    z, models = chapter.noises(192), chapter.load(unconditional_models(chapter.profile))
    comparison = chapter.compare(z)
    comparison.add_all(models)
    chapter.measure({"rp": comparison.rp("unet", "uvit")})
    chapter.claims({"id": ("statement", "what the paper says", agreement(rp, null, linear))})
    chapter.table()
    chapter.close()

The profile says how large everything is; the report keeps what is found. Used in every chapter.
"""

from collections.abc import Callable, Mapping
from functools import cached_property

import torch
from torch import Tensor, nn

from helpers.chapters.models import chapter_models
from helpers.chapters.profile import Profile
from helpers.chapters.profiles import find_profile
from helpers.closed_form import GaussianDenoiser
from helpers.data import Dataset, load
from helpers.denoiser import Denoiser, denoising_error
from helpers.measure.comparison import Comparison
from helpers.measure.descriptor import describe, load_descriptor
from helpers.noise import initial_noise
from helpers.parallel import side_by_side
from helpers.report.claims import Report
from helpers.report.tables import Table
from helpers.report.verdicts import Finding
from helpers.zoo import ModelSpec, load_denoiser
from helpers.zoo.inventory import core_hours

FAST = "dpmpp3m"                          # DPM-Solver++(3M): the same pictures as Heun at half the evaluations


class Chapter:
    """Chapter `number` at the size of a profile (a name, or a file: `find_profile`), with initial noises of `seed`.

    change                              what the chapter makes of the profile, if it is about another data set
    profile, device, threshold, steps   of the profile; `steps` are the solver's time steps
    report                              where measurements and claims go
    """

    def __init__(self, number: int, profile: str = "laptop", seed: int = 0,
                 change: Callable[[Profile], Profile] = lambda profile: profile):
        self.number, self.seed, self.profile = number, seed, change(find_profile(profile))
        self.device, self.threshold = self.profile.torch_device(), self.profile.threshold
        self.steps = self.profile.solver_steps
        self.report = Report(number, profile=profile, seed=seed)

    @cached_property
    def pool(self) -> Dataset:
        """The images that models train on: the largest training set, the pool's first N."""
        return load(self.profile.dataset, "pool").first(self.profile.sizes[-1])

    @cached_property
    def test(self) -> Dataset:
        """The images that nobody trains on."""
        return load(self.profile.dataset, "test")

    @cached_property
    def gaussian(self) -> GaussianDenoiser:
        """The linear baseline: mean and covariance of the pool."""
        return GaussianDenoiser.fit(self.pool.images)

    @cached_property
    def descriptor(self) -> nn.Module:
        """The copy-detection descriptor of the profile."""
        return load_descriptor(self.profile.descriptor, self.device, self.profile.dataset)

    @cached_property
    def strangers(self) -> Tensor:
        """Descriptors (N, d) of the photographs among which images are identified: held out, and all different."""
        return self.describe(self.test.first(min(self.profile.held_out, len(self.test))).images)

    @property
    def shape(self) -> torch.Size:
        """(C, H, W) of an image."""
        return self.test.images.shape[1:]

    def noises(self, n: int | None = None, start: int = 0) -> Tensor:
        """The initial noises z numbered from `start` on, (n, C, H, W); n: the profile's `samples` unless given."""
        n = self.profile.samples if n is None else n
        return initial_noise(range(start, start + n), self.shape, self.seed, self.device)

    def load(self, specs: Mapping[object, ModelSpec]) -> dict[object, Denoiser]:
        """The trained denoisers of some specs, from the profile's zoo; what it lacks is trained first."""
        return {name: load_denoiser(spec, self.device, self.profile.zoo) for name, spec in specs.items()}

    def compare(self, z: Tensor, **options) -> Comparison:
        """An empty `Comparison` on the noises z, with strangers, the descriptor, its threshold, a fast solver."""
        known = {"solver": FAST, "steps": self.steps, "strangers": self.strangers}
        return Comparison(z, self.descriptor, self.threshold, **known | options)

    def describe(self, images: Tensor) -> Tensor:
        """Unit descriptors of images (n, C, H, W): (n, d)."""
        return describe(images, self.descriptor)

    def held_out_error(self, models: Mapping[object, Denoiser], sigmas: list[float], x0: Tensor,
                       label: Tensor | None = None) -> dict[object, Tensor]:
        """Denoising error of each model on images x0 (n, C, H, W), at each sigma: {name: (len(sigmas),)} on the CPU."""
        x0, label = x0.to(self.device), None if label is None else label.to(self.device)

        def one(name: object) -> Tensor:
            return denoising_error(models[name], x0, sigmas, batch=len(x0), label=label).cpu()

        return dict(zip(models, side_by_side(one, models)))

    def measure(self, values: Mapping, tolerance: float | None = None) -> None:
        """Keep numbers, scores, or lists of them for the prose: `Report.measure`."""
        self.report.measure(values) if tolerance is None else self.report.measure(values, tolerance=tolerance)

    def claims(self, rows: Mapping[str, tuple[str, str, Finding]]) -> None:
        """Add claims, a row each: {id: (statement, what the paper says, what was found by a rule of `verdicts.py`)}."""
        for id, (statement, source, finding) in rows.items():
            self.report.claim(id, statement, source, finding)

    def table(self) -> Table:
        """The table of claims, to end a cell with; the cost of the chapter's models joins the measurements."""
        specs = list(dict.fromkeys(chapter_models(self.profile, self.number)))
        self.measure({"models_trained": len(specs), "core_hours": core_hours(specs, self.profile.zoo)})
        return self.report.table()

    def close(self) -> None:
        """Store what was found, or compare it with what is stored: `Report.close`."""
        self.report.close()
