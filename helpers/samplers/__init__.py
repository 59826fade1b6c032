"""Samplers: from noise to an image.

`solvers.py` has the rules for one step, `sampling.py` walks with them, `time_steps.py` has the steps of each kernel.
"""

from helpers.samplers.sampling import karras_sigmas, nfe, sample, trajectory
from helpers.samplers.solvers import SOLVERS, Interval, Solver, Step
from helpers.samplers.time_steps import own_sigmas

__all__ = ["SOLVERS", "Interval", "Solver", "Step", "karras_sigmas", "nfe", "own_sigmas", "sample", "trajectory"]
