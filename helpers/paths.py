"""Where things are: every path of the project, resolved from this file.

Chapters, tests and the driver run in different working directories, so no
other file spells a relative path.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
DATA = ROOT / "data"
FASHION_MNIST = DATA / "fashion-mnist"
GLYPHS = DATA / "glyphs"
ZOO = DATA / "zoo"
RESULTS = DATA / "results"
BUILD = ROOT / "_build"                           # what a build makes again in minutes: `make clean` deletes it
RUNS = BUILD / "runs"
LOCAL = DATA / "local"                            # what this machine trained or downloaded: not in git, and it stays
CHECKPOINTS = LOCAL / "checkpoints"
DOWNLOADS = LOCAL / "downloads"
