"""Samplers: from noise to an image. `solvers.py` has the rules for one step, `sampling.py` walks with them."""

from helpers.samplers.sampling import karras_sigmas, nfe, sample, trajectory
from helpers.samplers.solvers import SOLVERS, Interval, Solver, Step

__all__ = ["SOLVERS", "Interval", "Solver", "Step", "karras_sigmas", "nfe", "sample", "trajectory"]
