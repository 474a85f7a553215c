"""Docstrings as this project writes them, on pages.

The sections ``Shape:`` and ``Source:`` become fields beside the parameters, and a name
in single backticks becomes a link where it is one of ours.
"""

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxRole

SECTIONS = ("Shape:", "Source:")


def with_fields(lines: list[str]) -> list[str]:
    """The lines, with our own sections as fields; napoleon reads the others."""
    made: list[str] = []
    rest = iter([*lines, ""])
    line = next(rest, None)
    while line is not None:
        if line not in SECTIONS:
            made.append(with_plain_stars(line))
            line = next(rest, None)
            continue
        body = []
        name, line = line, next(rest, None)
        while line is not None and (not line or line.startswith(" ")):
            body.append(line)
            line = next(rest, None)
        while body and not body[-1]:
            body.pop()
        literal = [".. code-block:: text", ""] if name == "Shape:" else []
        shift = "    " if name == "Shape:" else ""
        made += [f":{name}", *("    " + text for text in literal)]
        made += [f"{shift}{text}" if text else "" for text in body]
        made.append("")
    return made[:-1] if made and not made[-1] else made


def with_plain_stars(line: str) -> str:
    """A line in which the star of (N, C, *space) does not begin italics."""
    if ">>>" in line:
        return line
    parts = line.split("``")
    parts[::2] = [re.sub(r"(?<=[\s(])\*(?=\w+[\s,)])", r"\\*", p) for p in parts[::2]]
    return "``".join(parts)


def rewrite(app: Any, what: str, name: str, obj: Any, options: Any, lines: Any) -> None:
    """Called for every docstring, before napoleon."""
    lines[:] = with_fields(lines)


class Own(SphinxRole):
    """What single backticks mean: a link to a public name, or else code."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The nodes for one pair of backticks."""
        code = nodes.literal(self.rawtext, self.text, classes=["py"])
        if not re.fullmatch(r"[A-Za-z_][\w.]*", self.text):
            return [code], []
        link = addnodes.pending_xref(
            self.rawtext, code, refdomain="py", reftype="obj", reftarget=self.text
        )
        link["refdoc"] = self.env.current_document.docname
        link["py:module"] = self.env.ref_context.get("py:module")
        return [link], []


def follow(app: Any, env: Any, link: Any, shown: nodes.Node) -> nodes.Node | None:
    """The place of a name that is written from within the package.

    ``functional.pad``, ``MaxPool2d``, ``convscope.layers.pool.MaxPool2d``: the name
    of an object that has a page under another, longer or shorter path.
    """
    if link.get("refdomain") != "py" or not link["reftarget"]:
        return None
    target = link["reftarget"].split(".")
    for path, entry in _found(env, target[-1]):
        if _is_meant(target, path.split(".")):
            uri = app.builder.get_relative_uri(link["refdoc"], entry.docname)
            return nodes.reference(
                "", "", shown, internal=True, refuri=f"{uri}#{entry.node_id}"
            )
    return None


def _is_meant(written: list[str], path: list[str]) -> bool:
    """Whether a name as it was written can be that of an object's public path."""
    if written[0] == "convscope":
        return written[1] == path[1] or len(written) == 2
    return path[-len(written) :] == written


def _found(env: Any, name: str) -> list[tuple[str, Any]]:
    """Every documented object of that last name, shortest path first."""
    objects = env.domains["py"].objects
    found = [(p, e) for p, e in objects.items() if p.rpartition(".")[2] == name]
    return sorted(found, key=lambda pair: (pair[0].count("."), pair[0]))


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", rewrite, priority=400)
    app.connect("missing-reference", follow)
    app.add_role("own", Own())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
