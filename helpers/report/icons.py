"""The theme's icons, without the two thousand that no page shows.

pydata-sphinx-theme ships all of Font Awesome as one script of 1.5 MB, 95 % of it outlines:

    bars:[448,512,["navicon"],"f0c9","M0 96C0 78.3 14.3 64 32 64H416c17.7 ..."],

An outline stays if a page, or a script of the theme, names it or one of its other names. Used by `book/_ext/web.py`.
"""

import re
from collections.abc import Iterable

OUTLINE = re.compile(r'(?<=[{,])"?(?P<name>[a-z0-9-]+)"?:\[\d+,\d+,(?P<others>\[[^\]]*\]),"[0-9a-f]+",'
                     r'(?:"[^"]*"|\["[^"]*","[^"]*"\])\](?P<comma>,?)')
NAMED = re.compile(r"\bfa-([a-z0-9-]+)")
FEWEST = 1000                           # fewer outlines than this: another build of Font Awesome, which stays whole


def named(texts: Iterable[str]) -> set[str]:
    """Every name that follows `fa-` in pages or scripts; sizes and styles among them match no outline."""
    return {name for text in texts for name in NAMED.findall(text)}


def trimmed(script: str, names: set[str]) -> str:
    """Font Awesome's script with the outlines of `names` alone; unchanged if it is not written as we know it."""
    if len(OUTLINE.findall(script)) < FEWEST:
        return script

    def kept(found: re.Match) -> str:
        others = set(re.findall(r'"([^"]+)"', found["others"]))
        return found.group() if names & (others | {found["name"]}) else ""

    # The last outline of a list has no comma; if it goes, the one before it keeps a comma, which JavaScript allows.
    return OUTLINE.sub(kept, script)
