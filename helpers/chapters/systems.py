"""Systems: the generative models that chapter 1 compares, each of them different from one U-Net in one thing.

Every system learns from the same images and is sampled from the same noises. The reference is the small U-Net with the
EDM objective; a *seed* differs in initial weights and order of the data, an *architecture* in the network, a *kernel* or
*procedure* in the objective, and what is *not diffusion* in nearly everything. Solvers need no training: any of these
systems takes them. Used in chapters 1, 3 and 4.
"""

from dataclasses import dataclass, replace

from helpers.chapters.profile import Options, Profile, Systems
from helpers.models.training import Recipe
from helpers.zoo import ModelSpec


@dataclass(frozen=True)
class System:
    """One row of the matrix.

    label     what the figures call it
    axis      what it varies: reference, training, architecture, kernel, procedure, not diffusion
    spec      its trained model
    """

    label: str
    axis: str
    spec: ModelSpec

    @property
    def diffusion(self) -> bool:
        """Whether it is a diffusion model: all but GAN and VAE."""
        return self.axis != "not diffusion"


def systems(profile: Profile) -> dict[str, System]:
    """Every trained system of a profile by a short name; parents stand before what starts from them."""
    sizes, (small, large), n = profile.systems, profile.widths, profile.sizes[-1]
    base, other = (profile.model(small, n, seed) for seed in profile.seeds)
    found = {"unet": System("U-Net", "reference", base),
             "unet-seed": System("U-Net, other seed", "training", other),
             "unet-wide": System("U-Net, wide", "architecture", profile.model(large, n))}
    found |= _training(base) | _architectures(base, sizes, profile.seeds) | _kernels(base, other)
    return found | _procedures(base, sizes, profile) | _not_diffusion(base, sizes, profile.seeds)


def independent(first: ModelSpec, second: ModelSpec) -> bool:
    """Whether two trainings share neither initial weights nor order of the data and noise: no seed of theirs is the same.

    Two that share one are pulled alike by it, and agree more than two models that somebody trains anew.
    """
    def seeds(spec: ModelSpec) -> set[int]:
        return {spec.recipe.seed, spec.recipe.seed if spec.initial_seed is None else spec.initial_seed}

    return not seeds(first) & seeds(second)


def _training(base: ModelSpec) -> dict[str, System]:
    """One ingredient of a training run at a time: where the weights start, the order of the data, the optimizer."""
    order = replace(base, recipe=replace(base.recipe, seed=2), initial_seed=base.recipe.seed)
    weights = replace(base, initial_seed=2)
    label, muon = ("Adam", 0.0) if base.recipe.muon else ("Muon", 0.02)
    optimizer = replace(base, recipe=replace(base.recipe, muon=muon))
    return {"unet-order": System("U-Net, other order", "training", order),
            "unet-init": System("U-Net, other start", "training", weights),
            "unet-optimizer": System(f"U-Net, {label}", "training", optimizer)}


def _architectures(base: ModelSpec, sizes: Systems, seeds: tuple[int, int]) -> dict[str, System]:
    """The EDM objective on other networks; two seeds where a family needs a pair of its own."""
    def spec(network: str, options: Options, seed: int) -> ModelSpec:
        return replace(base, network=network, options=tuple(sorted(options.items())),
                       recipe=replace(base.recipe, seed=seed))

    return {"cnn": System("plain CNN", "architecture", spec("cnn", sizes.cnn, seeds[0])),
            "cnn-seed": System("plain CNN, other seed", "training", spec("cnn", sizes.cnn, seeds[1])),
            "uvit": System("U-ViT", "architecture", spec("uvit", sizes.uvit, seeds[0])),
            "uvit-seed": System("U-ViT, other seed", "training", spec("uvit", sizes.uvit, seeds[1])),
            "mlp": System("MLP", "architecture", spec("mlp", sizes.mlp, seeds[0]))}


def _kernels(base: ModelSpec, other: ModelSpec) -> dict[str, System]:
    """The reference network, trained in another kernel's coordinates and with its weighting; VP with the other seed, too.

    Then each kernel's noise levels under EDM's preconditioning, and a seed of its own for each.
    """
    labels = {"vp": "VP (score SDE)", "sub-vp": "sub-VP", "ve": "VE", "flow": "flow matching"}
    found = {name: System(label, "kernel", replace(base, objective=name, objective_options=()))
             for name, label in labels.items()}
    again = replace(other, objective="vp", objective_options=())
    shared = {f"edm-{name}": System(f"EDM on {label} levels", "kernel", replace(
        base, objective=f"edm-{name}", objective_options=(), recipe=replace(base.recipe, seed=3 + k)))
        for k, (name, label) in enumerate({"vp": "VP", "sub-vp": "sub-VP", "ve": "VE"}.items())}
    return found | {"vp-seed": System("VP, other seed", "training", again)} | shared


def _procedures(base: ModelSpec, sizes: Systems, profile: Profile) -> dict[str, System]:
    """Other ways to train the reference network; each round of distillation starts from the one before."""
    multistage = replace(base, network="multistage")
    found = {"ddpm": System("DDPM", "procedure", replace(base, objective="ddpm", objective_options=())),
             "multistage": System("multistage", "procedure", multistage)}
    parent = base
    for steps in sizes.rounds:
        parent = replace(base, objective="distillation", objective_options=(("base", 2 * sizes.rounds[0]), ("steps", steps)),
                         recipe=replace(sizes.distillation, seed=base.recipe.seed), init_from=parent.key)
        found[f"distilled-{steps}"] = System(f"distilled, {steps} steps", "procedure", parent)
    consistency = replace(base, objective="consistency", objective_options=(), recipe=sizes.consistency)
    tuned = replace(consistency, objective_options=(("first", 20),), recipe=sizes.tuning, init_from=base.key)
    return found | {"consistency": System("consistency training", "procedure", consistency),
                    "tuned": System("consistency tuning", "procedure", tuned)}


def _not_diffusion(base: ModelSpec, sizes: Systems, seeds: tuple[int, int]) -> dict[str, System]:
    """Two seeds of a GAN and of a VAE, on the same latent."""
    def spec(name: str, recipe: Recipe, seed: int) -> ModelSpec:
        outputs = {"gan": {"outputs": 1}, "vae": {"outputs": 64}}[name]
        return replace(base, network="pair", options=tuple(sorted({**sizes.pair, **outputs}.items())), objective=name,
                       objective_options=(), recipe=replace(recipe, seed=seed))

    return {f"{name}{suffix}": System(label + word, "not diffusion", spec(name, recipe, seed))
            for name, label, recipe in (("gan", "GAN", sizes.gan), ("vae", "VAE", sizes.vae))
            for seed, suffix, word in zip(seeds, ("", "-seed"), ("", ", other seed"))}
