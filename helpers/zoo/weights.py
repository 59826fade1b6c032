"""Weight files: safetensors whose header says what they are, checked whenever they are read. Nothing is unpickled.

The zoo's denoisers and the copy-detection descriptor are kept this way.
"""

import hashlib
import json
import os
import platform
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from helpers.leftovers import remove_leftovers, temporary_suffix


def weights_hash(weights: dict[str, Tensor]) -> str:
    """SHA-256 over the tensors' names and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_weights(path: Path, network: nn.Module, spec: str, about: dict[str, str], half: bool = False,
                  only: set[str] | None = None) -> None:
    """Write a network's tensors (with `half`, in float16) under a header: its spec, `about`, versions and hash.

    only   names of the tensors to write; None: all
    A reader sees the old file or the new one, never a part of it. ValueError for weights that are NaN or infinite, also
    where they become so in float16: nothing is written. OSError if the disk is full or the folder is not to be written.
    """
    weights = {name: t.detach().contiguous().cpu() for name, t in network.state_dict().items()
               if only is None or name in only}
    if half:
        weights = {name: t.half() for name, t in weights.items()}
    _require_finite(weights, path.name, "its training has failed, lower the learning rate")
    header = {"spec": spec, "sha256": weights_hash(weights), **about,
              "parameters": str(sum(p.numel() for p in network.parameters())),
              "versions": json.dumps({"python": platform.python_version(), "torch": torch.__version__})}
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    temporary = path.with_suffix(temporary_suffix())
    try:
        # Not save_file: it has temporary files of its own, whose names do not say who left them.
        temporary.write_bytes(save(weights, header))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _require_finite(weights: dict[str, Tensor], name: str, hint: str) -> None:
    bad = next((tensor for tensor, t in weights.items() if t.is_floating_point() and not t.isfinite().all()), None)
    if bad is not None:
        raise ValueError(f"{name} holds NaN or infinity in {bad}: {hint}")


def read_weights(path: Path, spec: str | None, hint: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the header of a file, checked against its hash and against `spec` (None: any).

    ValueError, ending in `hint`, if it is damaged, holds NaN or infinity, or is not what `spec` describes. FileNotFoundError
    or OSError if it is missing or cannot be read.
    """
    try:
        raw = path.read_bytes()
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
        weights = load(raw)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path.name} is missing: {hint}") from None
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        raise ValueError(f"{path.name} is damaged ({str(error).partition(chr(10))[0]}): {hint}") from error
    if header.get("sha256") != weights_hash(weights):
        raise ValueError(f"{path.name} is damaged (its weights do not match their hash): {hint}")
    if spec is not None and header.get("spec") != spec:
        raise ValueError(f"{path.name} holds another model than its name says: {hint}")
    _require_finite(weights, path.name, hint)
    return weights, header
