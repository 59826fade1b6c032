"""The book as a set of web pages: where its repository and its pages are, and the files that browsers and crawlers ask for.

Nothing here is typed twice: the repository's address is that of the git remote `origin` unless `_config.yml` names one,
and a repository on GitHub or GitLab has its pages where these hosts put them. Without an address the book still builds;
what would need one is left out. Used by `book/_ext/web.py`.
"""

import html
import re
import subprocess
from pathlib import Path

from helpers.paths import ROOT

# git@host:owner/name.git, ssh://git@host/owner/name, https://user:token@host/owner/name.git
REMOTE = re.compile(r"(?:(?:https?|ssh|git)://)?(?:[^@/]+@)?(?P<host>git(?:hub|lab)\.com)(?::\d+(?=/))?[:/]"
                    r"(?P<path>[\w.-]+(?:/[\w.-]+)+)")
PAGES = {"github.com": "https://{owner}.github.io/{name}/", "gitlab.com": "https://{owner}.gitlab.io/{name}/"}

NOT_FOUND = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Not found: {title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1.1rem/1.6 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1rem; }}
</style>
</head>
<body>
<h1>There is no page here</h1>
<p>It may have moved, or the link has a slip.
<a href="{home}">The book begins here</a>; <a href="{search}">its search</a> looks through every page.</p>
</body>
</html>
"""

REDIRECT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={first}">
<title>{title}</title>
{head}
</head>
<body><p><a href="{first}">{title}</a></p></body>
</html>
"""


def repository_address(remote: str) -> str:
    """The page of a repository on GitHub or GitLab from any form of its remote, without credentials; else ""."""
    found = REMOTE.fullmatch(remote.strip().rstrip("/").removesuffix(".git"))
    return f"https://{found['host']}/{found['path']}" if found else ""


def git_remote(root: Path = ROOT, name: str = "origin") -> str:
    """What git calls the remote of a checkout; "" where there is no git, no checkout or no such remote."""
    try:
        # Its arguments are ours, and git is the one that a reader calls.
        done = subprocess.run(["git", "config", "--get", f"remote.{name}.url"], cwd=root,  # noqa: S603, S607
                              capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def pages_address(repository: str) -> str:
    """Where the host of a repository publishes its pages, with a final slash; "" for a host that we do not know."""
    found = REMOTE.fullmatch(repository)
    if not found:
        return ""
    owner, _, name = found["path"].partition("/")
    if name.lower() == f"{owner}.{found['host'].partition('.')[0]}.io".lower():
        return f"https://{name.lower()}/"
    return PAGES[found["host"]].format(owner=owner.lower(), name=name)


def sitemap(base: str, pages: list[str]) -> str:
    """The sitemap of pages (addresses relative to base), as sitemaps.org describes it."""
    urls = "\n".join(f"  <url><loc>{html.escape(base + page)}</loc></url>" for page in pages)
    return ('<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{urls}\n</urlset>\n')


def robots(base: str) -> str:
    """Everybody may read everything but copies of sources; the sitemap is named where its address is known."""
    return "User-agent: *\nDisallow: /_sources/\n" + (f"Sitemap: {base}sitemap.xml\n" if base else "")


def not_found(title: str, base: str, home: str) -> str:
    """The page that a host shows for a wrong address. It stands alone: it may be shown at any depth below the root."""
    return NOT_FOUND.format(title=html.escape(title), home=html.escape((base or "/") + home),
                            search=html.escape((base or "/") + "search.html"))


def redirect(title: str, first: str, head: str) -> str:
    """The root's page, which leads to the book's first one and carries its description for those who share the link."""
    return REDIRECT.format(title=html.escape(title), first=html.escape(first), head=head)


def metatags(title: str, description: str, address: str = "", picture: str = "") -> str:
    """Description, OpenGraph and Twitter tags of a page. Address and picture are whole ones, or left out."""
    tags = [("name", "description", description), ("property", "og:title", title), ("property", "og:type", "article"),
            ("property", "og:description", description), ("property", "og:url", address),
            ("property", "og:image", picture), ("name", "twitter:card", "summary_large_image" if picture else "summary")]
    return "\n".join(f'<meta {kind}="{name}" content="{html.escape(text)}">' for kind, name, text in tags if text)


def shortened(text: str, limit: int = 200) -> str:
    """A text on one line, ended at a sentence or a word before `limit` characters."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    head = text[:limit]
    end = max([found.start() for found in re.finditer(r"(?<! al)[.?!] ", head)], default=0)
    return head[:end + 1] if end > limit // 3 else head[:limit - 1].rsplit(" ", 1)[0].rstrip(",;:") + "…"
