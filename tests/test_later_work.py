"""The published windows: at the noise levels where their papers use them, in pixels, falling with the noise."""

from math import pi, tan

from helpers.chapters.later_work import KAMB_WINDOWS, NIEDOBA_PATCHES, kamb_window, niedoba_patch
from helpers.samplers import karras_sigmas


def test_windows_are_those_of_their_time_steps():
    for i in range(1, 20):
        assert kamb_window(tan(pi * i / 20 / 2 / 1.008)) == KAMB_WINDOWS[i]
    assert kamb_window(80.0) == 25 and kamb_window(0.0) == 3


def test_patches_are_those_of_their_time_steps():
    for sigma, side in zip(karras_sigmas(18).tolist(), NIEDOBA_PATCHES):
        assert niedoba_patch(sigma) == side
    assert niedoba_patch(0.0) == 3 and len(NIEDOBA_PATCHES) == 18
