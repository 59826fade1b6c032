"""Addresses from git, the files at the root of the pages, icons, citations and pictures of chapters."""

import base64
import importlib.util
import io
import json
import subprocess
import xml.etree.ElementTree as ET

import pytest
import yaml
from PIL import Image
from pybtex.database import parse_string

from helpers.paths import ROOT
from helpers.report import cards, citation, icons, site
from helpers.report.readme import chapter_name


@pytest.mark.parametrize("remote, address", [
    ("git@github.com:owner/the.book.git", "https://github.com/owner/the.book"),
    ("ssh://git@github.com:22/owner/book", "https://github.com/owner/book"),
    ("https://reader:token@github.com/owner/book.git\n", "https://github.com/owner/book"),
    ("https://gitlab.com/group/part/book/", "https://gitlab.com/group/part/book"),
    ("", ""), ("../book.git", ""), ("file:///srv/github.com/owner/book", ""), ("https://git.example.org/owner/book", ""),
    ("https://github.com/owner", ""), ("https://notgithub.com/owner/book", ""),
])
def test_a_repository_has_one_address_whatever_its_remote_is_called(remote, address):
    assert site.repository_address(remote) == address


def test_a_remote_is_read_from_git_and_its_absence_is_no_error(tmp_path):
    assert site.git_remote(tmp_path) == ""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert site.git_remote(tmp_path) == ""
    subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", "git@github.com:a/b.git"], check=True)
    assert site.git_remote(tmp_path) == "git@github.com:a/b.git"


@pytest.mark.parametrize("repository, pages", [
    ("https://github.com/Owner/book", "https://owner.github.io/book/"), ("https://gitlab.com/o/b", "https://o.gitlab.io/b/"),
    ("https://github.com/owner/Owner.github.io", "https://owner.github.io/"), ("", ""), ("https://example.org/a/b", ""),
])
def test_pages_lie_where_the_host_of_the_repository_puts_them(repository, pages):
    assert site.pages_address(repository) == pages


def test_a_sitemap_is_well_formed_whatever_an_address_holds():
    root = ET.fromstring(site.sitemap("https://e.org/?a=1&b=", ["x.html", "y.html"]))
    assert [loc.text for loc in root.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")] == \
        ["https://e.org/?a=1&b=x.html", "https://e.org/?a=1&b=y.html"]


def test_without_an_address_no_file_names_one():
    assert "Sitemap" not in site.robots("") and 'href="/book/index.html"' in site.not_found("T", "", "book/index.html")
    tags = site.metatags('A "title"', "What it is")
    assert "og:url" not in tags and "og:image" not in tags and "A &quot;title&quot;" in tags


@pytest.mark.parametrize("text, short", [
    ("Short.", "Short."), ("a\n b", "a b"),
    ("One sentence of some length. And another one which is far too long", "One sentence of some length."),
    ("They write, as others do et al. no end of it before the limit comes", "They write, as others do et al. no end…"),
    ("Words without any end, that go on and on and on for ever", "Words without any end, that go on and…"),
])
def test_a_description_ends_at_a_sentence_or_a_word(text, short):
    assert site.shortened(text, 40) == short


def outlines(n, last=""):
    entries = ",".join(f'x{k}:[512,512,["alias-{k}"],"f{k:03x}","M0 {k}"]' for k in range(n))
    return f'var p={{{entries}{last}}},o={{"y-1":[1,2,[],"f0",["M1","M2"]]}};'


def test_icons_that_no_page_names_are_left_out():
    names = icons.named(['<i class="fa-solid fa-x3">', "fa-alias-7", "fas fa-y-1"])
    small = icons.trimmed(outlines(1200), names)
    assert small == 'var p={x3:[512,512,["alias-3"],"f003","M0 3"],x7:[512,512,["alias-7"],"f007","M0 7"],},' \
                    'o={"y-1":[1,2,[],"f0",["M1","M2"]]};'
    assert icons.trimmed(outlines(1200), set()) == "var p={},o={};"


def test_a_script_of_another_form_stays_whole():
    assert icons.trimmed(outlines(20), {"x3"}) == outlines(20)


def test_a_citation_has_the_paper_and_the_book():
    text = citation.bibtex("2026", "https://github.com/o/b")
    assert text.count("@") == 2 and text.startswith("@inproceedings{zhang2024emergence,")
    assert "arXiv:2310.05264" in text and "year = {2026}" in text and "url = {https://github.com/o/b}" in text
    assert text.count("{") == text.count("}")
    person = {"family-names": "Noether", "given-names": "Emmy"}
    assert "author = {Noether, Emmy and {a group}}" in citation.book_entry(
        {"authors": [person, {"name": "a group"}], "title": "T", "version": "1"}, "2026")
    with pytest.raises(ValueError, match="no entry 'nobody'"):
        citation.entry("nobody", "@misc{somebody,\n}")


def test_the_first_stored_picture_is_a_chapters(tmp_path):
    def output(color):
        data = io.BytesIO()
        Image.new("RGBA", (100, 300), color).save(data, "PNG")
        return {"data": {"image/png": base64.b64encode(data.getvalue()).decode()}}

    notebook = tmp_path / "n.ipynb"
    notebook.write_text(json.dumps({"cells": [{}, {"outputs": [{"data": {"text/plain": "x"}}]},
                                              {"outputs": [output((255, 0, 0, 0)), output("blue")]}]}))
    image = cards.first_figure(notebook)
    assert image.mode == "RGB" and image.getpixel((0, 0)) == (255, 255, 255)
    assert cards.thumbnail(image).size == cards.THUMBNAIL and cards.card(image).size == cards.CARD
    notebook.write_text(json.dumps({"cells": [{}]}))
    with pytest.raises(ValueError, match="n.ipynb has stored no picture"):
        cards.first_figure(notebook)


def test_a_chapter_is_called_by_its_number_and_short_name(tmp_path):
    toc = tmp_path / "_toc.yml"
    toc.write_text("parts:\n- chapters:\n  - {file: notebooks/02-x.ipynb, title: Short}\n  - {file: notebooks/03-y.ipynb}\n")
    assert [chapter_name(n, toc) for n in (2, 3, 4)] == ["2 Short", "3", "4"]


def test_binder_and_codespaces_install_the_same_pins():
    """Binder reads binder/, Codespaces .devcontainer/; both go by requirements.txt and Python's version there."""
    assert (ROOT / "binder/runtime.txt").read_text().strip() == "python-3.11"
    assert "requirements.txt" in (ROOT / "binder/postBuild").read_text()
    assert subprocess.run(["bash", "-n", ROOT / "binder/postBuild"]).returncode == 0
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert container["image"].endswith("python:3.11") and container["postCreateCommand"] == "make setup"
    assert "python=3.11" in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


def test_references_are_labeled_as_the_text_cites_them():
    spec = importlib.util.spec_from_file_location("labels", ROOT / "book/_ext/labels.py")
    labels = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(labels)
    entries = parse_string("""
        @misc{a, author = {Ho, Jonathan and Jain, Ajay and Abbeel, Pieter}, year = {2020}}
        @misc{b, author = {van der Berg, Anna and M{\\'e}zard, Marc}, year = {2021}}
        @misc{c, author = {Ho, Jonathan and Jain, Ajay and Other, Someone}, year = {2020}}
        @misc{d, author = {Dhariwal, Prafulla}}""", "bibtex").entries
    assert list(labels.AuthorYear().format_labels(list(entries.values()))) == [
        "Ho et al., 2020a", "van der Berg and Mézard, 2021", "Ho et al., 2020b", "Dhariwal, n. d."]
