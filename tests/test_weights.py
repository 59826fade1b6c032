"""Weight files: a round trip in both precisions, and every way of being damaged."""

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from helpers.leftovers import remove_leftovers
from helpers.zoo.weights import read_weights, weights_hash, write_weights


def network():
    torch.manual_seed(0)
    return torch.nn.Linear(7, 5)


@pytest.mark.parametrize("half, error", [(False, 0), (True, 2**-11)])
def test_round_trip(tmp_path, half, error):
    net, path = network(), tmp_path / "new" / "a.safetensors"
    write_weights(path, net, "spec", {"loss": "1"}, half)
    weights, header = read_weights(path, "spec", "hint")
    torch.testing.assert_close(weights["weight"].float(), net.weight.data, rtol=error, atol=0)
    assert (header["loss"], header["parameters"], header["spec"]) == ("1", "40", "spec")
    assert [p.name for p in path.parent.iterdir()] == ["a.safetensors"]


def test_every_flipped_bit_and_every_cut_is_seen(tmp_path):
    path = tmp_path / "a.safetensors"
    write_weights(path, network(), "spec", {})
    whole = path.read_bytes()
    start = len(whole) - 160                                           # 40 float32 numbers end the file
    for position in (start, start + 77, len(whole) - 1):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1:])
        with pytest.raises(ValueError, match="do not match their hash.*hint"):
            read_weights(path, "spec", "hint")
    for length in (0, 8, start, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is damaged.*hint"):
            read_weights(path, "spec", "hint")


def test_another_spec_is_refused(tmp_path):
    write_weights(tmp_path / "a.safetensors", network(), "spec", {})
    with pytest.raises(ValueError, match="another model"):
        read_weights(tmp_path / "a.safetensors", "other", "hint")


def test_the_hash_depends_on_names_and_bytes():
    a = {"x": torch.zeros(2), "y": torch.ones(2)}
    assert weights_hash(a) == weights_hash(dict(reversed(a.items())))
    assert weights_hash(a) != weights_hash({"x": torch.ones(2), "y": torch.zeros(2)})


def test_a_missing_file_is_called_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="a.safetensors is missing: do this"):
        read_weights(tmp_path / "a.safetensors", None, "do this")


@pytest.mark.parametrize("only, names", [(None, {"weight", "bias"}), ({"bias"}, {"bias"}), ({"bias", "x"}, {"bias"})])
def test_a_file_holds_the_tensors_that_were_asked_for_under_their_own_hash(tmp_path, only, names):
    net, path = network(), tmp_path / "a.safetensors"
    write_weights(path, net, "spec", {}, only=only)
    weights, header = read_weights(path, "spec", "hint")
    assert set(weights) == names and all(torch.equal(weights[name], net.state_dict()[name]) for name in names)
    assert header["sha256"] == weights_hash({name: net.state_dict()[name] for name in names})
    assert header["parameters"] == "40"                                # the network's, not the file's


@pytest.mark.parametrize("value, half", [(float("nan"), False), (float("inf"), True), (-float("inf"), False), (1e6, True)])
def test_weights_that_are_no_numbers_are_not_written(tmp_path, value, half):
    """1e6 is infinite in float16."""
    net = network()
    net.bias.data[2] = value
    with pytest.raises(ValueError, match="a.safetensors holds NaN or infinity in bias"):
        write_weights(tmp_path / "new" / "a.safetensors", net, "spec", {}, half)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_no_numbers_are_not_read(tmp_path):
    path, tensors = tmp_path / "a.safetensors", {"bias": torch.tensor([1.0, torch.nan]), "index": torch.tensor([3])}
    save_file(tensors, path, {"spec": "spec", "sha256": weights_hash(tensors)})
    with pytest.raises(ValueError, match="a.safetensors holds NaN or infinity in bias: hint"):
        read_weights(path, "spec", "hint")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    write_weights(path, network(), "old", {})
    old, write = path.read_bytes(), Path.write_bytes

    def full(target, raw):
        write(target, raw[:100])
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_weights(path, network(), "new", {})
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


def test_only_what_dead_processes_left_is_removed(tmp_path):
    names = {"a.99999999.tmp": False, f"a.{os.getpid()}.tmp": True, f"a.{os.getppid()}.tmp": True, "a.tmp": True,
             "a.b.tmp": True, "a.safetensors": True, f"a.{10**30}.tmp": False}
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "b.99999999.tmp").mkdir()
    (tmp_path / "b.99999999.tmp" / "inside").touch()
    remove_leftovers(tmp_path, "b.*")
    assert all((tmp_path / name).exists() for name in names) and not (tmp_path / "b.99999999.tmp").exists()
    remove_leftovers(tmp_path)
    assert {name: (tmp_path / name).exists() for name in names} == names
