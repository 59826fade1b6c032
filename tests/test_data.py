"""Data: shapes, splits, quantization, and clear errors."""

import gzip
import shutil

import pytest
import torch

from helpers import data, paths
from helpers.data.sources import _read_idx


@pytest.fixture(scope="module")
def pool():
    return data.load("fashion-mnist", "pool")


def test_fashion_mnist_is_the_original():
    train, test = data.load("fashion-mnist"), data.load("fashion-mnist", "test")
    assert train.images.shape == (60_000, 1, 28, 28) and test.images.shape == (10_000, 1, 28, 28)
    assert train.images.dtype == torch.uint8
    assert train.labels.bincount().tolist() == [6000] * 10 and test.labels.bincount().tolist() == [1000] * 10
    assert train.labels[:3].tolist() == [9, 0, 0]                    # ankle boot, T-shirt, T-shirt: as in the original


def test_pool_and_reserve_partition_the_training_images(pool):
    train, reserve = data.load("fashion-mnist"), data.load("fashion-mnist", "reserve")
    assert (len(pool), len(reserve)) == (2**15, 27_232)
    sums = torch.cat([pool.images, reserve.images]).flatten(1).double() @ torch.arange(784.0).double()
    assert torch.equal(sums.sort().values, (train.images.flatten(1).double() @ torch.arange(784.0).double()).sort().values)


def test_permutation_is_fixed_for_ever():
    assert data.permutation(60_000)[:5].tolist() == [47848, 34552, 24994, 32827, 31943]
    assert sorted(data.permutation(1000, seed=3).tolist()) == list(range(1000))


def test_subsets_are_nested_and_halves_disjoint(pool):
    assert torch.equal(pool.first(64).images, pool.first(256).images[:64])
    first, second = pool.first(2**14), pool.first(2**14, 2**14)
    assert torch.equal(torch.cat([first.images, second.images]), pool.images)


@pytest.mark.parametrize("n, start", [(0, 0), (2**15 + 1, 0), (2**14, 2**14 + 1), (5, -1)])
def test_a_subset_that_is_not_there(pool, n, start):
    with pytest.raises(ValueError, match="are not to be had"):
        pool.first(n, start)


def test_class_subsets(pool):
    boots = pool.of_classes([9])
    assert set(boots.labels.tolist()) == {9} and len(boots) == int((pool.labels == 9).sum())
    with pytest.raises(ValueError, match=r"has no class \[10\]"):
        pool.of_classes([1, 10])


def test_quantization_round_trip():
    u = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(data.to_uint8(data.to_float(u)), u)
    assert data.to_uint8(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


def test_damaged_and_missing_files(tmp_path):
    name = "t10k-labels-idx1-ubyte.gz"
    shutil.copy(paths.FASHION_MNIST / name, tmp_path)
    assert len(_read_idx(tmp_path / name)) == 10_000
    (tmp_path / name).write_bytes(gzip.compress(b"something else"))
    with pytest.raises(ValueError, match="damaged"):
        _read_idx(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="restore it from git"):
        _read_idx(tmp_path / "train-labels-idx1-ubyte.gz")


def test_unknown_names_are_listed():
    with pytest.raises(ValueError, match="fashion-mnist, glyphs, cifar10"):
        data.load("imagenet")
    with pytest.raises(ValueError, match="pool, reserve"):
        data.load("fashion-mnist", "validation")


def test_a_known_set_has_one_size():
    for form in ({"size": 28}, {"channels": 1}):
        with pytest.raises(ValueError, match="fashion-mnist has images of one size"):
            data.load("fashion-mnist", **form)


def test_cifar_without_network(monkeypatch, tmp_path):
    import urllib.request

    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("TORCHVISION_DATA", str(tmp_path))
    with pytest.raises(RuntimeError, match="could not be downloaded"):
        data.load("cifar10")
