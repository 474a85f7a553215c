"""ES modules put together into one script, without a build step.

Each module becomes a function of its own that returns what it exports, so that names
stay apart. Only two forms are known, which is all that the page's modules use:
``import {a, b} from "./x.js";`` and ``export`` before a function, class or const.
Comments and indentation are left out, so no text may span several lines.
"""

import posixpath
import re
from pathlib import Path

from convscope.errors import ArgumentError

_IMPORT = re.compile(r'import \{([\w$, ]+)\} from "(\.\.?/[\w/]+\.js)";')
_EXPORT = re.compile(r"export ((?:async )?function\*? |class |const |let )(\w+)")


def one_script(folder: Path, entries: tuple[str, ...], last: str) -> str:
    """All modules that the entries need, in order, and a last line.

    Args:
        folder: Where they lie.
        entries: Paths below it, whose names ``last`` may use: ``NAME_js.thing``.
        last: What runs at the end.

    Raises:
        ArgumentError: A module has an import or export of another form or a text of
            several lines, or two import each other.
    """
    made: dict[str, str] = {}
    for entry in entries:
        _add(folder, entry, made, ())
    return "\n".join(['"use strict";', *made.values(), last])


def name_of(path: str) -> str:
    """What a module is called in the script: ``engine/sums.js``: ``engine_sums_js``."""
    return re.sub(r"\W", "_", path)


def _add(folder: Path, path: str, made: dict[str, str], above: tuple[str, ...]) -> None:
    if path in above:
        raise ArgumentError(f"play: {path} and {above[-1]} import each other.")
    if path in made:
        return
    here = Path(path).parent
    names, lines = [], []
    for number, line in enumerate((folder / path).read_text("utf-8").splitlines(), 1):
        if line.startswith("import"):
            found = _IMPORT.fullmatch(line)
            if found is None:
                raise ArgumentError(
                    f"play: {path}:{number}: {line} is no known import."
                )
            other = posixpath.normpath((here / found[2]).as_posix())
            _add(folder, other, made, (*above, path))
            line = f"const {{{found[1].replace(' as ', ': ')}}} = {name_of(other)};"
        elif line.startswith("export"):
            exported = _EXPORT.match(line)
            if exported is None:
                raise ArgumentError(
                    f"play: {path}:{number}: {line} is no known export."
                )
            names.append(exported[2])
            line = line.removeprefix("export ")
        if line.count("`") % 2:
            raise ArgumentError(f"play: {path}:{number}: a text spans several lines.")
        if line.strip() and not line.lstrip().startswith("//"):
            lines.append(line.lstrip())
    body = "\n".join(lines)
    made[path] = (
        f"const {name_of(path)} = (() => {{\n{body}\n"
        f"return {{{', '.join(names)}}};\n}})();"
    )
