"""Data: a dataset is one tensor, from the shipped files, a download, or a reader's folder. Used by every chapter."""

from helpers.data.dataset import Dataset, as_x0, check_x0, permutation, to_float, to_uint8
from helpers.data.sources import CLASS_NAMES, FASHION_MNIST_MD5, KNOWN, POOL_SIZE, identify, load

__all__ = ["CLASS_NAMES", "FASHION_MNIST_MD5", "KNOWN", "POOL_SIZE", "Dataset", "as_x0", "check_x0", "identify",
           "load", "permutation", "to_float", "to_uint8"]
