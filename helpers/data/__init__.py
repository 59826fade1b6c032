"""Data: a dataset is one tensor, from the shipped files, a download, or a reader's folder. Used by every chapter."""

from helpers.data.dataset import Dataset, as_x0, check_x0, permutation, to_float, to_uint8
from helpers.data.sources import CLASS_NAMES, KNOWN, POOL_SIZE, identify, load, shipped

__all__ = ["CLASS_NAMES", "KNOWN", "POOL_SIZE", "Dataset", "as_x0", "check_x0", "identify", "load", "permutation",
           "shipped", "to_float", "to_uint8"]
