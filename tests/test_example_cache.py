import ast
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from convert import example_cache
from convert.errors import DatasetError
from convert.example_cache import (
    EXAMPLE_MODULES,
    GRADING_MODULES,
    SELECTION_MODULES,
    digest_of_code,
    load_or_make,
)
from convert.examples import Example, make_examples
from edge import frontend


def maker(asked):
    """Examples that tell their number; ``asked`` notes which were made."""

    def make(number):
        asked.append(number)
        indices = np.full((84, 87), number, dtype=np.uint8)
        return Example(indices, number % 2, frozenset({"a"} if number % 3 == 0 else ()))

    return make


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(example_cache, "CHUNK", 4)


def test_all_are_there_in_order_with_the_groups_in_them(small, tmp_path):
    found = load_or_make(lambda: maker([]), ("a", "b"), 10, tmp_path / "x", workers=0, name="x")
    assert found.indices[:, 7, 7].tolist() == list(range(10))
    assert found.labels.tolist() == [n % 2 for n in range(10)]
    assert found.has_group.tolist() == [[n % 3 == 0, False] for n in range(10)]


def test_other_code_is_another_maker(monkeypatch, tmp_path, anew):
    before = digest_of_code(EXAMPLE_MODULES)
    assert digest_of_code(EXAMPLE_MODULES) == before
    for path in Path(example_cache.__file__).parent.glob("*.py"):
        text = path.read_text()
        (tmp_path / path.name).write_text(text + "CHANGED = 1\n" * (path.stem == "faults"))
    monkeypatch.setattr(example_cache, "__file__", str(tmp_path / "example_cache.py"))
    anew()
    assert digest_of_code(EXAMPLE_MODULES) != before


def test_code_that_is_edited_or_removed_later_is_not_what_runs():
    program = (
        "from convert import example_cache as cache\n"
        "parts = cache.EXAMPLE_MODULES, cache.GRADING_MODULES, cache.TRAINING_MODULES\n"
        "before = [cache.digest_of_code.__wrapped__(names) for names in parts]\n"
        "cache.__file__ = cache.frontend.__file__ = '/nowhere/convert/cache.py'\n"
        "assert [cache.digest_of_code(names) for names in parts] == before\n"
        "assert len(set(before)) == 3\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_words_about_code_are_not_code():
    code = example_cache._code
    plain = code(b"def f(x):\n    return x + 1\n")
    said = b'"""Of f."""\n\n\n# Why.\ndef f(x):\n    """Return more."""\n    return x + 1  # one\n'
    assert code(said) == plain
    assert code(b"class A:\n    'A.'\n    async def f(): 'F.'\n") == code(
        b"class A:\n    async def f():\n        'G.'\n"
    )
    for other in (b"x + 2", b"x - 1", b"1 + x"):
        assert code(b"def f(x):\n    return " + other + b"\n") != plain
    assert code(b"x = 'a'\n") != code(b"x = 'b'\n")
    assert code(b"x = 1\n'a'\n") != code(b"x = 1\n")  # a text further down is none


@pytest.fixture
def edge(monkeypatch, tmp_path):
    """The device's package, free to be changed."""
    copy = tmp_path / "edge"
    shutil.copytree(Path(frontend.__file__).parents[1], copy)
    monkeypatch.setattr(frontend, "__file__", str(copy / "frontend" / "__init__.py"))
    return copy


@pytest.mark.parametrize("name", ["recording", "hann", "wav", "frontend/hpss"])
def test_what_hears_otherwise_makes_other_pictures(name, edge, anew):
    before = digest_of_code(EXAMPLE_MODULES), digest_of_code(GRADING_MODULES)
    with (edge / f"{name}.py").open("a") as module:
        module.write("CHANGED = 1\n")
    anew()
    assert digest_of_code(EXAMPLE_MODULES) != before[0]
    assert digest_of_code(GRADING_MODULES) != before[1]


@pytest.mark.parametrize("name", ["gate", "gate_config", "hiss", "repetition", "window"])
def test_what_refuses_otherwise_grades_on_others_but_makes_the_same(name, edge, anew):
    before = digest_of_code(EXAMPLE_MODULES), digest_of_code(GRADING_MODULES)
    with (edge / f"{name}.py").open("a") as module:
        module.write("CHANGED = 1\n")
    anew()
    assert digest_of_code(EXAMPLE_MODULES) == before[0]
    assert digest_of_code(GRADING_MODULES) != before[1]


# They change no sound: they report, write files or end processes.
NEITHER = {"errors", "progress", "edge/child", "edge/errors", "edge/files", "edge/packages"}


def imported(name):
    """Of one of our modules, those that it imports; as example_cache.EXAMPLE_MODULES names them."""
    where = {
        "convert": Path(example_cache.__file__).parent,
        "edge": Path(frontend.__file__).parents[1],
    }
    package, _, module = name.partition(".")
    path = where[package] / f"{module}.py"
    files = [path] if path.is_file() else sorted((where[package] / module).glob("*.py"))
    found = set()
    for node in (n for file in files for n in ast.walk(ast.parse(file.read_text()))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            if "." in node.module:
                found.add(node.module)
            else:
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {".".join(m.split(".")[:2]) for m in found if m.split(".")[0] in where}


def test_no_module_that_makes_or_chooses_is_forgotten():
    seen, todo = set(), {"convert.examples", "convert.judgeable"}
    while todo:
        seen.add(name := todo.pop())
        todo |= imported(name) - seen
    named = {n.removeprefix("convert.").replace("edge.", "edge/") for n in seen}
    assert "edge/gate_config" in named
    assert not set(EXAMPLE_MODULES) & set(SELECTION_MODULES)
    assert named == {*EXAMPLE_MODULES, *SELECTION_MODULES, *NEITHER}


def test_killed_while_making_it_keeps_what_it_has(small, tmp_path):
    asked: list[int] = []
    make = maker(asked)

    def killed(number):
        if number == 9:
            raise KeyboardInterrupt
        return make(number)

    with pytest.raises(KeyboardInterrupt):
        load_or_make(lambda: killed, (), 11, tmp_path, workers=0, name="x")
    asked.clear()
    left, written = (tmp_path / f".00000008-00000011.npz.0123abc{n}" for n in "de")
    for path in (left, written):
        path.touch()
    os.utime(left, (time.time() - 3600,) * 2)
    found = load_or_make(lambda: make, (), 11, tmp_path, workers=0, name="x")
    assert asked == [8, 9, 10]
    assert found.indices[:, 0, 0].tolist() == list(range(11))
    assert list(tmp_path.glob(".*")) == [written]  # by another run, just now


@pytest.mark.parametrize("damage", [lambda b: b[:300], lambda b: b[:200] + b"x" + b[201:]])
def test_what_is_damaged_is_made_again_and_nothing_else(small, tmp_path, capsys, damage):
    load_or_make(lambda: maker([]), (), 11, tmp_path, workers=0, name="x")
    path = sorted(tmp_path.iterdir())[1]
    path.write_bytes(damage(path.read_bytes()))
    asked: list[int] = []
    found = load_or_make(lambda: maker(asked), (), 11, tmp_path, workers=0, name="x")
    assert asked == [4, 5, 6, 7]
    assert found.indices[:, 0, 0].tolist() == list(range(11))
    said = capsys.readouterr().err.splitlines()
    assert sum(f"{path} is damaged and will be made again" in line for line in said) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"labels": np.zeros(4, "i8"), "has_group": np.zeros((4, 0), bool)},
        {
            "indices": np.zeros((3, 84, 87), "u1"),
            "labels": np.zeros(4, "i8"),
            "has_group": np.zeros((4, 0), bool),
        },
        {
            "indices": np.zeros((4, 84, 87), "u1"),
            "labels": np.zeros(4, "i8"),
            "has_group": np.zeros((4, 2), bool),
        },
    ],
)
def test_a_whole_file_of_something_else_is_made_again(small, tmp_path, capsys, other):
    load_or_make(lambda: maker([]), (), 8, tmp_path, workers=0, name="x")
    np.savez_compressed(sorted(tmp_path.iterdir())[1], **other)
    found = load_or_make(lambda: maker([]), (), 8, tmp_path, workers=0, name="x")
    assert found.indices[:, 0, 0].tolist() == list(range(8))
    assert capsys.readouterr().err.count("is damaged and will be made again") == 1


def test_for_want_of_memory_nothing_is_thrown_away(small, tmp_path, monkeypatch):
    load_or_make(lambda: maker([]), (), 8, tmp_path, workers=0, name="x")
    kept = sorted(tmp_path.iterdir())

    def load(_):
        raise MemoryError

    monkeypatch.setattr(np, "load", load)
    with pytest.raises(MemoryError):
        load_or_make(lambda: maker([]), (), 8, tmp_path, workers=0, name="x")
    assert sorted(tmp_path.iterdir()) == kept


def test_a_disk_that_keeps_nothing_is_one_line(small, tmp_path, monkeypatch):
    monkeypatch.setattr(
        example_cache, "write_atomically", lambda path, _: path.write_bytes(b"PK rubbish")
    )
    with pytest.raises(DatasetError, match="disk failing"):
        load_or_make(lambda: maker([]), (), 5, tmp_path, workers=0, name="x")


def test_more_are_drawn_beside_those_that_are_there(small, tmp_path):
    load_or_make(lambda: maker([]), (), 6, tmp_path, workers=0, name="x")
    asked: list[int] = []
    found = load_or_make(lambda: maker(asked), (), 9, tmp_path, workers=0, name="x")
    assert asked == [4, 5, 6, 7, 8]  # the file that was not full was another one
    assert found.indices[:, 0, 0].tolist() == list(range(9))


def test_what_is_all_there_needs_no_maker(small, tmp_path):
    load_or_make(lambda: maker([]), (), 6, tmp_path, workers=0, name="x")
    load_or_make(lambda: pytest.fail("asked for"), (), 6, tmp_path, workers=0, name="x")


class Deadly:
    """Kills the process it is asked in, as the kernel does when memory runs out."""

    def __call__(self, number):
        import signal

        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_was_killed_is_one_line():
    with pytest.raises(DatasetError, match="memory"):
        list(make_examples(Deadly(), range(4), 2))


def test_workers_do_not_outlive_whoever_asks_them(tmp_path):
    """Killed outright, it cannot tell them to end."""
    program = (
        "import os, signal, time\n"
        "from convert.examples import make_examples\n"
        "def maker(number):\n"
        "    open(f'{number}.{os.getpid()}', 'w').close()\n"
        "    time.sleep(60)\n"
        "list(make_examples(maker, range(100), 2))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path)
    deadline = time.monotonic() + 30
    while len(list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = [int(path.suffix[1:]) for path in tmp_path.iterdir()]
    process.kill()
    process.wait()
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the latter once it is open
        return False
