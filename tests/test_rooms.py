"""The rooms of the code: how large folders, modules and functions are, and when a module stands on its own.

The architecture page states the rules. Each test names every module that breaks one.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST_MODULES = 10
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 40
SMALL = 60
REASON = re.compile(r"\b(On its own|Apart)\b")


def modules(root: Path) -> dict[str, Path]:
    """Return every module of the package below ``root`` by its dotted name; a package is its ``__init__``."""
    found = {}
    for path in sorted((root / "gateway").rglob("*.py")):
        if "node_modules" not in path.parts:
            found[".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


def imports_of(path: Path, known: dict[str, Path]) -> set[str]:
    """Return the modules of ours that ``path`` imports, lazily or not."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{each.name}" for each in node.names} | {node.module}
    return found & known.keys()


def crowded_folders(root: Path) -> list[str]:
    """Return the folders with too many modules."""
    count: dict[Path, int] = defaultdict(int)
    for path in modules(root).values():
        count[path.parent] += path.name != "__init__.py"
    return [f"{folder.relative_to(root)}: {n}" for folder, n in count.items() if n > MOST_MODULES]


def long_modules(root: Path) -> list[str]:
    """Return the modules with too many lines."""
    sizes = {path: len(path.read_text().splitlines()) for path in modules(root).values()}
    return [f"{path.relative_to(root)}: {lines}" for path, lines in sizes.items() if lines > MOST_LINES]


def long_functions(root: Path) -> list[str]:
    """Return the functions with too many lines, without their signature and docstring."""
    found = []
    for path in modules(root).values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                body = node.body[1:] if ast.get_docstring(node) and node.body[1:] else node.body
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
                if lines >= MOST_LINES_OF_A_FUNCTION:
                    found.append(f"{path.relative_to(root)}, {node.name}: {lines}")
    return found


def lonely_modules(root: Path) -> list[str]:
    """Return the small modules that one other module imports, and whose docstring does not say why they stand apart."""
    known = modules(root)
    importers: dict[str, set[str]] = defaultdict(set)
    for name, path in known.items():
        for imported in imports_of(path, known):
            importers[imported].add(name)
    found = []
    for name, path in known.items():
        text = path.read_text()
        if path.name == "__init__.py" or len(text.splitlines()) >= SMALL or len(importers[name]) != 1:
            continue
        if not REASON.search(ast.get_docstring(ast.parse(text)) or ""):
            found.append(f"{path.relative_to(root)}, which {next(iter(importers[name]))} alone imports")
    return found


def test_no_folder_is_crowded() -> None:
    assert crowded_folders(ROOT) == []


def test_no_module_is_long() -> None:
    assert long_modules(ROOT) == []


def test_no_function_is_long() -> None:
    assert long_functions(ROOT) == []


def test_a_small_module_with_one_importer_lives_in_it() -> None:
    assert lonely_modules(ROOT) == []


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A package that keeps the rules."""
    folder = tmp_path / "gateway" / "room"
    folder.mkdir(parents=True)
    (tmp_path / "gateway" / "__init__.py").touch()
    (folder / "__init__.py").touch()
    (folder / "large.py").write_text("from gateway.room import small\nfrom gateway.room.apart import x\n")
    (folder / "small.py").write_text('"""One job. On its own: it is slow to import."""\n')
    (folder / "apart.py").write_text("x = 1\n" * SMALL)
    return tmp_path


def test_the_rules_find_what_breaks_them(house: Path) -> None:
    assert crowded_folders(house) == long_modules(house) == long_functions(house) == lonely_modules(house) == []
    room = house / "gateway" / "room"
    imports = "from gateway.room import apart, small\n"
    (room / "large.py").write_text(imports + 'def f():\n    """Do."""\n' + "    x = 1\n" * MOST_LINES_OF_A_FUNCTION)
    assert long_functions(house) == ["gateway/room/large.py, f: 40"]
    (room / "small.py").write_text('"""One job."""\n')
    assert lonely_modules(house) == ["gateway/room/small.py, which gateway.room.large alone imports"]
    (room / "large.py").write_text("x = 1\n" * (MOST_LINES + 1))
    assert long_modules(house) == [f"gateway/room/large.py: {MOST_LINES + 1}"]
    for number in range(MOST_MODULES):
        (room / f"module_{number}.py").touch()
    assert crowded_folders(house) == [f"gateway/room: {MOST_MODULES + 3}"]
