"""Weight files: a round trip in both precisions, and every way of being damaged."""

import pytest
import torch

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
