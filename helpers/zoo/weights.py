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
from safetensors.torch import load, save_file
from torch import Tensor, nn


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
    A reader sees the old file or the new one, never a part of it.
    """
    weights = {name: t.detach().contiguous().cpu() for name, t in network.state_dict().items()
               if only is None or name in only}
    if half:
        weights = {name: t.half() for name, t in weights.items()}
    header = {"spec": spec, "sha256": weights_hash(weights), **about,
              "parameters": str(sum(p.numel() for p in network.parameters())),
              "versions": json.dumps({"python": platform.python_version(), "torch": torch.__version__})}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    save_file(weights, temporary, metadata=header)
    os.replace(temporary, path)


def read_weights(path: Path, spec: str | None, hint: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the header of a file, checked against its hash and against `spec` (None: any).

    ValueError, ending in `hint`, if it is damaged or not what `spec` describes.
    """
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
        weights = load(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path.name} is missing: {hint}") from None
    except Exception as error:
        raise ValueError(f"{path.name} is damaged ({str(error).partition(chr(10))[0]}): {hint}") from error
    if header.get("sha256") != weights_hash(weights):
        raise ValueError(f"{path.name} is damaged (its weights do not match their hash): {hint}")
    if spec is not None and header.get("spec") != spec:
        raise ValueError(f"{path.name} holds another model than its name says: {hint}")
    return weights, header
