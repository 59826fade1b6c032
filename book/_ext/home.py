"""The home page and the page of all verdicts, from what the chapters stored.

    ```{hero}                  what many systems draw from the same noises (chapter 1), and the two regimes (chapter 2)
    ```
    ```{takeaways} 1 2         the first takeaway of each chapter, with its numbers
    ```
    ```{scoreboard}            a row for each chapter: how many claims are reproduced, partly, not
    ```
    ```{chapter-cards}         a card for each chapter: picture, question, answer
    ```
    ```{running-cost}          what running all chapters costs
    ```
    ```{all-claims}            every claim, by chapter, with filters and a forest plot
    ```
"""

import json
import os
from pathlib import Path

from docutils import nodes
from measured import stored
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from helpers.chapters.profiles import PROFILES
from helpers.paths import NOTEBOOKS
from helpers.report import cards, forest, hero, home
from helpers.report.readme import chapter_file, chapter_name
from helpers.run import chapters


class Page(SphinxDirective):
    """What the directives share: results, texts and addresses of chapters, as dependencies of the page."""

    def contents(self) -> list[dict]:
        return [content for number in sorted(chapters()) if (content := stored(number, self.env))]

    def text(self, chapter: int) -> str:
        path = NOTEBOOKS / f"{chapter_file(chapter)}.md"
        for source in (path, path.with_suffix(".ipynb")):
            self.env.note_dependency(str(source))
        return path.read_text(encoding="utf-8")

    def address(self, chapter: int) -> str:
        return f"{'../' * self.env.docname.count('/')}notebooks/{chapter_file(chapter)}.html"

    def link(self, chapter: int, text: str) -> nodes.Node:
        """A reference to a chapter's page, which Sphinx checks."""
        target = f"/notebooks/{chapter_file(chapter)}"
        reference = addnodes.pending_xref("", refdomain="std", reftype="doc", reftarget=target, refexplicit=True,
                                          refwarn=True, refdoc=self.env.docname)
        reference += nodes.inline(text=text)
        return reference

    def picture(self, chapter: int) -> nodes.image:
        """The upper part of a chapter's first figure, kept beside the built pages, with the figure's own description."""
        path = Path(self.env.app.outdir).parent / "thumbnails" / f"{chapter:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cards.thumbnail(cards.chapter_figure(chapter)).save(path, quality=80, optimize=True)
        here = Path(self.env.doc2path(self.env.docname)).parent
        notebook = json.loads((NOTEBOOKS / f"{chapter_file(chapter)}.ipynb").read_text(encoding="utf-8"))
        return nodes.image(uri=Path(os.path.relpath(path, here)).as_posix(), alt=cards.description(notebook))

    def markdown(self, text: str) -> list[nodes.Node]:
        """MyST text, roles and all, as nodes."""
        holder = nodes.container()
        self.state.nested_parse(text.splitlines(), self.content_offset, holder)
        return holder.children


class Hero(Page):
    def run(self) -> list[nodes.Node]:
        self.text(1)
        results = stored(2, self.env)
        pictures = hero.stored_pictures(NOTEBOOKS / f"{chapter_file(1)}.ipynb")
        sizes = PROFILES[results["parameters"]["profile"]].sizes
        systems = hero.systems(
            pictures, f'One noise a column, the first {hero.NOISES} of <a href="{self.address(1)}">chapter 1</a>. '
            "Most columns show one garment in all six diffusion models; a GAN and a VAE go their own way.")
        regimes = hero.regimes(
            sizes, results["measurements"], "Two networks of different width, trained on the same N images: alike when both "
            f'copy, and again when neither does (<a href="{self.address(2)}">chapter 2</a>).')
        return [nodes.raw("", f'<div class="hero">{systems}{regimes}</div>', format="html")]


class Takeaways(Page):
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        lines = []
        for chapter in map(int, self.arguments[0].split()):
            reference = f"[{chapter_name(chapter)}](/notebooks/{chapter_file(chapter)}.ipynb)"
            lines.append(f"- {home.takeaway(self.text(chapter))} ({reference})")
        return self.markdown("\n".join(lines))


class Scoreboard(Page):
    def run(self) -> list[nodes.Node]:
        contents = self.contents()
        links = {content["chapter"]: self.address(content["chapter"]) for content in contents}
        return [nodes.raw("", home.scoreboard(contents, links), format="html")]


class ChapterCards(Page):
    def run(self) -> list[nodes.Node]:
        grid = nodes.container(classes=["chapter-cards"])
        for content in self.contents():
            chapter = content["chapter"]
            text, name = self.text(chapter), chapter_name(chapter)
            parts = [nodes.paragraph("", "", self.link(chapter, name), classes=["card-name"]),
                     nodes.paragraph(text=home.question(text), classes=["card-question"])]
            answer = nodes.container("", *self.markdown(home.answer(text)), classes=["card-answer"])
            grid += nodes.container("", self.picture(chapter), *parts, answer, classes=["chapter-card"])
        return [grid]


class RunningCost(Page):
    def run(self) -> list[nodes.Node]:
        return [nodes.paragraph(text=f"What it costs: {home.cost(self.contents())}.")]


class AllClaims(Page):
    def run(self) -> list[nodes.Node]:
        contents = self.contents()
        names = {content["chapter"]: chapter_name(content["chapter"]) for content in contents}
        found = [nodes.raw("", forest.filters(contents, names) + forest.legend(), format="html")]
        for content in contents:
            number = content["chapter"]
            section = nodes.section(ids=[f"claims-{number}"], names=[f"claims-{number}"])
            section += nodes.title(text=names[number])
            section += nodes.raw("", forest.chapter_table(content, f"{self.address(number)}#verdict"), format="html")
            found.append(section)
        return found


def setup(app):
    directives = {"hero": Hero, "takeaways": Takeaways, "scoreboard": Scoreboard,
                  "chapter-cards": ChapterCards, "running-cost": RunningCost, "all-claims": AllClaims}
    for name, directive in directives.items():
        app.add_directive(name, directive)
    return {"version": "1", "parallel_read_safe": True}
