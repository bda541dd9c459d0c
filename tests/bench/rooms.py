"""Who imports whom, folder by folder, imports inside functions included: `python tests/bench/rooms.py [ROOT]`.

ROOT is the folder that holds the package `pipeline` (default: this project). A floor is one more than that of the
highest file that a file imports; a cycle has none.
"""

import sys
from collections import Counter, defaultdict
from functools import cache


def main(root: str) -> None:
    sys.path.insert(0, root)
    import grimp

    graph = grimp.build_graph("pipeline", cache_dir=None)
    files = graph.modules
    imports: dict[str, Counter[str]] = defaultdict(Counter)
    for importer in files:
        for imported in graph.find_modules_directly_imported_by(importer):
            imports[room(importer, files)][room(imported, files)] += 1
    for name, counts in sorted(imports.items()):
        others = ", ".join(
            f"{other} {count}" for other, count in sorted(counts.items()) if other != name
        )
        print(f"{name:<12} {others or 'nothing of ours'}")
    print(f"{len(files)} modules, {graph.count_imports()} imports, {floors(graph)} floors")
    for cycle in sorted(graph.nominate_cycle_breakers("pipeline")):
        print("in a cycle:", " -> ".join(cycle))


def room(module: str, files: set[str]) -> str:
    """The folder of a module; a file that lies beside the folders is a room of its own."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "pipeline"


def floors(graph) -> int:
    """How many files stand on each other at most."""

    @cache
    def floor(module: str) -> int:
        below = graph.find_modules_directly_imported_by(module) - {"pipeline"}
        return 1 + max((floor(other) for other in below), default=0)

    return max(floor(module) for module in graph.modules)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ".")
