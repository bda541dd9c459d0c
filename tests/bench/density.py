"""How dense the code is to read: `python tests/bench/density.py [FOLDER ...]` counts on the syntax tree.

Per 1,000 lines that are not empty: comprehensions with several `for`s or inside another, conditional expressions, and assignments of
several values to several names at once; then the share of lines over 100 columns, how often the name `found` is
assigned, and the medians and maxima of lines of files and functions.
"""

import ast
import statistics
import sys
from collections import Counter
from pathlib import Path

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
WIDE = 100


def count(tree: ast.AST) -> Counter[str]:
    """What makes a reader stop."""
    counts: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, COMPREHENSIONS):
            inner = [
                child
                for child in ast.walk(node)
                if isinstance(child, COMPREHENSIONS) and child is not node
            ]
            counts["nested comprehensions"] += len(node.generators) > 1 or bool(inner)
        elif isinstance(node, ast.IfExp):
            counts["conditional expressions"] += 1
        elif (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Tuple)
            and isinstance(node.value, ast.Tuple)
        ):
            counts["tuple assignments"] += 1
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            counts["found"] += node.id == "found"
    return counts


def lengths(tree: ast.AST) -> list[int]:
    """Lines of each function, methods and inner ones among them."""
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [(node.end_lineno or node.lineno) - node.lineno + 1 for node in functions]


def main(folders: list[str]) -> None:
    for folder in folders:
        counts: Counter[str] = Counter()
        files: list[int] = []
        functions: list[int] = []
        wide = 0
        for path in sorted(Path(folder).rglob("*.py")):
            text = path.read_text("utf-8")
            tree = ast.parse(text)
            lines = [line for line in text.splitlines() if line.strip()]
            counts += count(tree)
            files.append(len(lines))
            functions += lengths(tree)
            wide += sum(len(line) > WIDE for line in lines)
        total = sum(files)
        print(f"{folder}: {len(files)} files, {total:,} lines")
        for name in ("nested comprehensions", "conditional expressions", "tuple assignments"):
            print(
                f"  {name:<24} {1000 * counts[name] / total:5.1f} per 1,000 lines ({counts[name]})"
            )
        print(f"  {'lines over 100 columns':<24} {100 * wide / total:5.1f} %")
        print(f"  {'found is assigned':<24} {counts['found']:5} times")
        for name, sizes in (("file", files), ("function", functions)):
            print(
                f"  lines of a {name:<13} {statistics.median(sizes):5.0f} median, {max(sizes)} most"
            )


if __name__ == "__main__":
    main(sys.argv[1:] or ["pipeline"])
