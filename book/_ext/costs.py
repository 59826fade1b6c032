"""The page "What it costs", from what the benchmark and the chapters stored.

    ```{costs} summary|ratios|growth|chapters|zoo|gpu|gpu-speeds|gpu-growth|gpu-ratios|paper|paper-hours
    ```
"""

from pathlib import Path

from docutils import nodes
from measured import stored
from sphinx.util.docutils import SphinxDirective

from helpers.chapters.models import all_models
from helpers.chapters.profiles import LAPTOP
from helpers.paths import RESULTS
from helpers.report import costs
from helpers.report.readme import chapter_name
from helpers.run import chapters
from helpers.zoo.inventory import core_hours

GPU = "bench-gpu.json"


class Costs(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The part that is asked for, as HTML or a paragraph. ValueError for one that there is not."""
        parts = {"summary": self.summary, "ratios": self.ratios, "growth": self.growth, "chapters": self.chapters,
                 "zoo": self.zoo, "gpu": self.gpu, "gpu-speeds": lambda: costs.gpu_speeds(self.card(), self.bench()),
                 "gpu-growth": lambda: costs.growth(self.card()), "gpu-ratios": lambda: costs.ratios(self.card()),
                 "paper": self.paper, "paper-hours": self.paper_hours}
        if self.arguments[0] not in parts:
            raise ValueError(f"costs has no part {self.arguments[0]!r}: choose from {', '.join(parts)}")
        found = parts[self.arguments[0]]()
        return [nodes.paragraph(text=found) if not found.startswith("<") else nodes.raw("", found, format="html")]

    def bench(self) -> dict:
        self.env.note_dependency(str(RESULTS / "bench.json"))
        return costs.read()

    def summary(self) -> str:
        return costs.summary(self.bench())

    def ratios(self) -> str:
        return costs.ratios(self.bench())

    def growth(self) -> str:
        return costs.growth(self.bench())

    def paper(self) -> str:
        return costs.paper(self.bench())

    def paper_hours(self) -> str:
        hours = costs.paper_hours(self.bench())
        each = ", ".join(f"{n:,.0f} at {speed}" for speed, n in hours.items())
        card = self.card()
        measured = costs.paper_measured(card, self.bench())
        widths = " and ".join(f"{hours:,.0f} for those of width {width}" for width, hours in measured.items())
        return (f"In GPU-hours, by the 10¹² operations a second that a GPU keeps up: {each}. At the speeds above, on one "
                f"{card['machine']['device']}, training the U-Nets alone takes {widths}.")

    def chapters(self) -> str:
        contents = [content for number in sorted(chapters()) if (content := stored(number, self.env))]
        return costs.chapters(contents, {content["chapter"]: chapter_name(content["chapter"]) for content in contents})

    def zoo(self) -> str:
        models = all_models(LAPTOP)
        size = sum(Path(path).stat().st_size for path in LAPTOP.zoo.glob("*.safetensors")) / 2**20
        return (f"The {len(models)} models that the chapters load took {core_hours(models):.1f} core-hours to train and "
                f"take {size:.0f} MiB.")

    def card(self) -> dict:
        self.env.note_dependency(str(RESULTS / GPU))
        return costs.read(GPU)

    def gpu(self) -> str:
        return costs.gpu_summary(self.card())


def setup(app):
    app.add_directive("costs", Costs)
    return {"version": "1", "parallel_read_safe": True}
