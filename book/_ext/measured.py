"""Numbers from data/results in the prose: nothing is typed that a chapter measured.

    {measured}`02:rp_32768`           three significant figures
    {measured}`02:rp_32768:.0%`       with a format of Python's own

    ```{verdict-table} 2              claims of chapter 2; without an argument, of all chapters
    ```
    ```{cost-box} 2                   what a run of chapter 2 costs
    ```
    ```{other-noises}                 which verdicts stay when the noises are others
    ```

A name that was never measured is a warning, hence an error in the strict build. Pages depend on the result files, so a
new result rebuilds them.
"""

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from helpers.paths import RESULTS
from helpers.report import other_noises, record, tables
from helpers.report.readme import chapter_file, chapter_name
from helpers.run import chapters

logger = logging.getLogger(__name__)


def stored(chapter: int, env) -> dict | None:
    """The results of a chapter, noted as a dependency of the page being read."""
    env.note_dependency(str(RESULTS / f"{chapter:02d}.json"))
    return record.read(chapter)


class Measured(SphinxRole):
    """{measured}`chapter:name[:format]`: one stored number."""

    def run(self):
        chapter, name, spec = (self.text.split(":", 2) + ["", ""])[:3]
        results = stored(int(chapter), self.env) if chapter.isdigit() else None
        value = (results or {}).get("measurements", {}).get(name)
        try:
            if value is None:
                raise KeyError(f"no measurement {name!r} in data/results/{chapter}.json")
            return [nodes.inline(text=tables.number(value, spec), classes=["measured"])], []
        except (KeyError, ValueError, TypeError) as error:
            logger.warning("measured: %s", error, location=self.get_location())
            return [nodes.problematic(text=f"?{self.text}?")], []


def cell(*children: nodes.Node, text: str = "", classes: list[str] | None = None) -> nodes.entry:
    return nodes.entry("", nodes.paragraph("", text, *children), classes=classes or [])


def table(header: list[str], body: list[nodes.row], classes: list[str]) -> nodes.table:
    """A docutils table from a header and finished rows."""
    group = nodes.tgroup(cols=len(header))
    group.extend(nodes.colspec(colwidth=1) for _ in header)
    group += nodes.thead("", nodes.row("", *(cell(text=h) for h in header)))
    group += nodes.tbody("", *body)
    return nodes.table("", group, classes=classes)


class VerdictTable(SphinxDirective):
    """The stored claims of one chapter, or of all."""

    optional_arguments = 1
    option_spec = {"class": directives.class_option}

    def run(self) -> list[nodes.Node]:
        single = bool(self.arguments)
        numbers = [int(self.arguments[0])] if single else sorted(chapters())
        found = [content for content in (stored(number, self.env) for number in numbers) if content]
        if not found:
            logger.warning("verdict-table: nothing is stored yet", location=self.get_location())
            return [nodes.paragraph(text="No chapter has been run yet.")]
        header = list(tables.COLUMNS) if single else ["Chapter", *tables.COLUMNS]
        body = [self.row(content["chapter"], claim, single) for content in found for claim in content["claims"]]
        return [table(header, body, ["verdicts", *self.options.get("class", [])])]

    def row(self, chapter: int, claim: dict, single: bool) -> nodes.row:
        cells = [cell(text=text) for text in tables.row(claim)]
        cells[-1]["classes"] = ["verdict"]
        if not single:
            cells.insert(0, cell(self.link(chapter)))
        return nodes.row("", *cells, classes=[tables.css_class(claim["verdict"])])

    def link(self, chapter: int) -> nodes.Node:
        document = f"notebooks/{chapter_file(chapter)}"
        if document not in self.env.found_docs:
            return nodes.inline(text=str(chapter))
        reference = addnodes.pending_xref("", refdomain="std", reftype="doc", reftarget=f"/{document}",
                                          refexplicit=True, refwarn=True, refdoc=self.env.docname)
        reference += nodes.inline(text=str(chapter))
        return reference


class CostBox(SphinxDirective):
    """What a run of a chapter cost, where, and what its trained models cost before."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        results = stored(int(self.arguments[0]), self.env)
        if not results or "cost" not in results:
            logger.warning("cost-box: chapter %s has no stored cost", self.arguments[0], location=self.get_location())
            return []
        items = nodes.bullet_list("", *(nodes.list_item("", nodes.paragraph(text=t)) for t in cost_lines(results)))
        return [nodes.admonition("", nodes.title(text="What this chapter costs"), items, classes=["cost"])]


class OtherNoises(SphinxDirective):
    """The chapters that were run with other noises, and which of their verdicts changed."""

    def run(self) -> list[nodes.Node]:
        for number in sorted(chapters()):
            stored(number, self.env)
        self.env.note_dependency(str(RESULTS / other_noises.FILE))
        found = other_noises.compare()
        if not found:
            logger.warning("other-noises: no run with other noises is stored", location=self.get_location())
            return []
        header = ["Chapter", "Seed", "Verdicts that stay", "Values within the stored interval", "Verdicts that change"]
        return [table(header, [nodes.row("", *(cell(text=text) for text in self.cells(one))) for one in found],
                      ["other-noises"])]

    def cells(self, one: other_noises.Comparison) -> tuple[str, ...]:
        changed = [f"{statement}: {before} → {after}" for statement, before, after in one.changed]
        changed += [f"{statement}: not run" for statement in one.missing]
        return (chapter_name(one.chapter), str(one.seed), f"{one.stay} of {one.stay + len(changed)}",
                f"{one.within} of {one.stated}", "; ".join(changed) or "none")


def cost_lines(results: dict) -> list[str]:
    """Sentences about the cost; models and core-hours come from the measurements models_trained and core_hours."""
    cost, found = results["cost"], results["measurements"]
    memory = f"{cost['peak_memory_mb'] / 1024:.1f} GB of memory"
    if "peak_gpu_memory_mb" in cost:
        memory += f", {cost['peak_gpu_memory_mb'] / 1024:.1f} GB of it on the GPU"
    where = f"{cost['device']} with {cost['threads']} threads"
    lines = [f"Running it: {duration(cost['wall_seconds'])} on {where}; {memory}."]
    if "profile" in results["parameters"]:
        lines.append(f"Profile: {results['parameters']['profile']}.")
    if "models_trained" in found:
        hours = f", {found['core_hours']:.1f} core-hours to train from nothing" if "core_hours" in found else ""
        lines.append(f"Trained models: {tables.number(found['models_trained'])}, loaded from the zoo{hours}.")
    return lines


def duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.1f} minutes"


def setup(app):
    app.add_role("measured", Measured())
    app.add_directive("verdict-table", VerdictTable)
    app.add_directive("cost-box", CostBox)
    app.add_directive("other-noises", OtherNoises)
    return {"version": "1", "parallel_read_safe": True}
