"""Networks of diffusers as denoisers: a pipeline in memory, a saved folder, or a network with its scheduler."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from helpers.adapters.functions import FLOOR, SIGMA_MIN, image_like, type_of
from helpers.adapters.schedules import read_schedule
from helpers.denoiser import Denoiser, Label, Sigma, broadcast_sigma, known_label

INSTALL = "a folder of diffusers is read with the package diffusers, which is not installed: pip install 'diffusers==0.42.1'"
NETWORKS = ("unet", "transformer")


class DiffusersDenoiser(Denoiser):
    """D(x, sigma, label) = a x + b F(s x, t), with diffusers' call F = net(x_t, t, class_labels=...).sample.

    classes, null   how many classes it knows (0: none), and the label that it takes for no label, if there is one
    given           what else the network is told at each call; a tensor with one row goes to all images
    shape           (C, H, W) of its images, if the network's config says so, else None
    """

    def __init__(self, network: Callable, scheduler, classes: int | None, null: int | None, given: Mapping[str, object]):
        super().__init__()
        self.network, self.given, self.classes, self.null = network, dict(given), classes, null
        self.schedule, self.prediction = read_schedule(scheduler)
        low, high = self.schedule.range
        self.sampling = {"sigma_min": max(low, SIGMA_MIN), "sigma_max": high}
        self.whole = _config(network, "time_embedding_type") == "learned"      # a table of times has none between two
        channels, size = _config(network, "in_channels"), _config(network, "sample_size")
        self.shape = (channels, *(size if isinstance(size, list | tuple) else (size, size))) if channels and size else None

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        """ValueError for a class that it does not know, for none where it needs one, and for an answer of another size."""
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        told = self._told(known_label(label, x, self.classes), x)
        sigma = broadcast_sigma(sigma, precise).double().clamp_min(FLOOR)
        s, t = self.schedule(sigma)
        a, b, s = (v.to(precise.dtype).view(-1, 1, 1, 1) for v in (*self.prediction(s, sigma), s))
        x_t, t = (s * precise).to(type_of(self.network, precise)), t.round().long() if self.whole else t.float()
        output = self.network(x_t, t, **told)
        output = output[0] if isinstance(output, tuple) else getattr(output, "sample", output)
        if output.shape[1] == 2 * x.shape[1]:
            output = output[:, :x.shape[1]]                                    # the other half is a learned variance
        return (a * precise + b * image_like(output, x).to(precise.dtype)).to(x.dtype)

    def _told(self, label: Tensor | None, x: Tensor) -> dict[str, object]:
        """What the network is told beside x and t, for each of the images x."""
        told = {name: value.expand(len(x), *value.shape[1:]) if isinstance(value, Tensor) and value.shape[:1] == (1,)
                else value for name, value in self.given.items()}
        if label is None and self.null is not None:
            label = torch.full((len(x),), self.null, device=x.device)
        if label is None and self.classes:
            raise ValueError(f"this network was trained with the classes 0 to {self.classes - 1} and needs one for each "
                             "image: give label")
        return told if label is None else told | {"class_labels": label}


def from_diffusers(model, scheduler=None, *, classes: int | None = None, null: int | None = None,
                   **given: object) -> DiffusersDenoiser:
    """The denoiser of a diffusers pipeline, or of a network and the scheduler with which it was trained.

    model      a pipeline with a `unet` or a `transformer`; or a network, or any callable net(x_t, t, class_labels=...)
    classes    how many classes it knows; None: as its config says (of a callable without one nobody knows)
    null       the label that means none, as the last one of a network that hid labels in training; a DiT's is known
    given      what the network is told at each call, as encoder_hidden_states=(1, L, d)

    `sampling` is the range of noise levels on which it was trained. An autoencoder of the pipeline is left out: the
    denoiser is then one of latents. ValueError for a scheduler that has no place in `schedules.read_schedule`.
    """
    if scheduler is None:
        network = next((found for name in NETWORKS if (found := getattr(model, name, None)) is not None), None)
        if network is None or getattr(model, "scheduler", None) is None:
            raise ValueError(f"a {type(model).__name__} is no pipeline with a scheduler and a unet or a transformer: "
                             "give from_diffusers(network, scheduler)")
        model, scheduler = network, model.scheduler
    if classes is None and hasattr(model, "config"):
        classes, null = _classes(model, null)
    return DiffusersDenoiser(model, scheduler, classes, null, given)


def load_diffusers(folder: str | Path, device: str | torch.device = "cpu", **options: object) -> DiffusersDenoiser:
    """The denoiser of a pipeline that save_pretrained wrote; options as for `from_diffusers`.

    Only its network and its scheduler are read; nothing is downloaded, nothing unpickled. ImportError without diffusers,
    FileNotFoundError if the folder holds no pipeline, ValueError if it cannot be read.
    """
    folder = Path(folder).expanduser()
    if not (folder / "model_index.json").is_file():
        raise FileNotFoundError(f"{folder} holds no pipeline (model_index.json): write one with "
                                "DDPMPipeline(unet, scheduler).save_pretrained(folder)")
    try:
        import diffusers
    except ImportError as error:
        raise ImportError(INSTALL) from error
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        part = next((name for name in NETWORKS if index.get(name)), None)
        if part is None or not index.get("scheduler"):
            raise ValueError("it has no unet or transformer with a scheduler")
        network, scheduler = (getattr(diffusers, index[name][1]) for name in (part, "scheduler"))
        network = network.from_pretrained(folder / part, local_files_only=True, use_safetensors=True,
                                          low_cpu_mem_usage=False)     # it would warn that accelerate is not installed
        scheduler = scheduler.from_pretrained(folder / "scheduler", local_files_only=True)
    except Exception as error:                          # a damaged file can raise anything
        raise ValueError(f"{folder} cannot be read as a pipeline: {str(error).strip().partition(chr(10))[0]}") from error
    return from_diffusers(network, scheduler, **options).requires_grad_(False).eval().to(device)


def _classes(model, null: int | None) -> tuple[int, int | None]:
    """How many classes a network knows, and its label for none: of a DiT and of a U-Net."""
    dit = _config(model, "num_embeds_ada_norm")
    if dit and hasattr(model, "pos_embed"):
        return dit, dit if null is None else null                              # its table has one row more
    rows = _config(model, "num_class_embeds") or 0
    return rows - (null is not None and null == rows - 1), null


def _config(network: object, name: str) -> object:
    """An entry of a network's config, or None."""
    config = getattr(network, "config", {})
    return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
