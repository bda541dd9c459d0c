"""What a function does, as a hash of its syntax: words, types and other functions may change."""

import ast
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def syntax_hash(path: Path, name: str) -> str | None:
    """16 hex digits of what a function of a file does, with all of the file that it uses.

    Imports, comments, docstrings and annotations are left out. None where it is not there.
    """
    units = _units_of(path, path.stat().st_mtime_ns)
    if name not in units:
        return None
    used = {name: _syntax(units[name])}
    waiting = list(_names(units[name]))
    while waiting:
        other = waiting.pop()
        if other in units and other not in used:
            used[other] = _syntax(units[other])
            waiting += _names(units[other])
    return _digest(used)


def folder_hash(folder: Path) -> str:
    """The same of every function in the files of a folder."""
    return _digest_of(
        tuple((path, path.stat().st_mtime_ns) for path in sorted(folder.glob("*.py")))
    )


@functools.lru_cache(maxsize=8)
def _digest_of(files: tuple[tuple[Path, int], ...]) -> str:
    """The hash of files as they were at some time."""
    used = {}
    for path, changed in files:
        for name, unit in _units_of(path, changed).items():
            used[f"{path.name}:{name}"] = _syntax(unit)
    return _digest(used)


def _digest(used: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=64)
def _units_of(path: Path, changed: int) -> dict[str, ast.AST]:
    """The units of a file as it was at some time."""
    return dict(_units(ast.parse(path.read_text("utf-8"))))


def _units(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.AST]]:
    """Functions, methods and constants of a file, by name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _units(node)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node


def _names(node: ast.AST) -> Iterator[str]:
    """The names and attributes that it uses, without the variables that are its own."""
    own = set()
    for part in ast.walk(node):
        if isinstance(part, ast.arg):
            own.add(part.arg)
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            own.add(part.id)
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id not in own:
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr


def _syntax(node: Any) -> Any:
    """A syntax tree without what is empty, as lists and dictionaries: alike in every Python."""
    if node is None:
        return None
    if isinstance(node, list):
        return [_syntax(part) for part in node if not _says_nothing(part)]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {}
    for name, value in ast.iter_fields(node):
        part = _syntax(value)
        if part and name not in ("annotation", "returns"):
            fields[name] = part
    return [type(node).__name__, fields]


def _says_nothing(node: Any) -> bool:
    """Whether a statement is an import or a string that stands alone."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.Import | ast.ImportFrom)
