"""Fills the code that CONTRIBUTING.md quotes with what stands in the files now. Run by `make docs`.

A quote is a block of Python below a line `<!-- FILE: NAME NAME … -->`; a name is a class, up
to its first method, one of its methods (`Ec2VpcIgw.create`), or a function.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "CONTRIBUTING.md"
_QUOTE = re.compile(r"<!-- (?P<file>\S+): (?P<names>[^>]+) -->\n```python\n.*?```", re.DOTALL)


def filled(text: str) -> str:
    """The page with every quote as its file has it. Raises KeyError with a name that the file lacks."""

    def quote(found: re.Match[str]) -> str:
        source = (ROOT / found["file"]).read_text("utf-8")
        pieces = dict(_pieces(source))
        code = "\n\n".join(pieces[name] for name in found["names"].split())
        return f"<!-- {found['file']}: {found['names']} -->\n```python\n{code}\n```"

    return _QUOTE.sub(quote, text)


def _pieces(source: str) -> Iterator[tuple[str, str]]:
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, "\n".join(lines[node.lineno - 1 : node.end_lineno])
        if not isinstance(node, ast.ClassDef):
            continue
        methods = [member for member in node.body if isinstance(member, ast.FunctionDef)]
        firsts = [min([each.lineno, *(one.lineno for one in each.decorator_list)]) for each in methods]
        end = firsts[0] - 1 if firsts else node.end_lineno
        yield node.name, "\n".join(lines[node.lineno - 1 : end]).rstrip()
        for method, first in zip(methods, firsts, strict=True):
            yield f"{node.name}.{method.name}", "\n".join(lines[first - 1 : method.end_lineno])


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")
    sys.stdout.write("the quotes of CONTRIBUTING.md are up to date\n")
