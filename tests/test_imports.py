"""What the device loads, and which way the arrows go."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import edge
from tests.audio import noise, wav_file

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {
    "torch",
    "librosa",
    "numba",
    "matplotlib",
    "scipy.signal",
    "scipy.ndimage",
    "pyaudio",
    "gpiozero",
    "soundfile",
    "av",
    "tqdm",
    "convert",
}


def loaded_by(code, *arguments):
    """Modules a child process has loaded after running ``code``."""
    report = "\nimport sys; print('loaded', *sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code + report, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("loaded ")]
    return set(line.split()[1:])


def test_import_edge_loads_nothing():
    assert not {name for name in loaded_by("import edge") if name.startswith(("numpy", "scipy"))}


def test_the_command_line_waits_for_nothing_that_computes():
    """On a Pi numpy and scipy take two seconds; the microphone is opened meanwhile."""
    modules = loaded_by("from edge.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass")
    assert "edge.run_command" in modules
    assert not {name for name in modules if name.partition(".")[0] in ("numpy", "scipy")}


def test_a_whole_prediction_loads_nothing_heavy(tmp_path):
    path = wav_file(tmp_path / "a.wav", noise(2, 48_000).astype("f8"), 48_000)
    code = "import sys; from edge.cli import main; main(['predict', sys.argv[1], '--json'])"
    modules = loaded_by(code, path)
    assert "edge.classifier" in modules
    assert modules & HEAVY == set()


def test_the_measurement_would_notice():
    assert "scipy.signal" in loaded_by("import scipy.signal")


def imports_of(path):
    """All that ``path`` may load: of ``from a import b``, a and a.b, which may be a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, path  # a relative import would have to be resolved first
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_edge_never_imports_convert():
    users = {
        path
        for path in (ROOT / "edge").rglob("*.py")
        if any(name.partition(".")[0] == "convert" for name in imports_of(path))
    }
    assert not users


@pytest.mark.parametrize(
    ("package", "module"), [("pyaudio", "capture_process"), ("gpiozero", "lamp")]
)
def test_each_device_package_is_known_to_one_module(package, module):
    users = {
        path.stem
        for path in (ROOT / "edge").rglob("*.py")
        if any(name.partition(".")[0] == package for name in imports_of(path))
    }
    assert users == {module}


@pytest.mark.parametrize("runtime", ["ai_edge_litert", "tflite_runtime"])
def test_each_runtime_is_known_to_the_classifier_alone(runtime):
    """Which one is there shows only as it runs, so it is imported by a name in a table."""
    users = {
        path.stem
        for path in (ROOT / "edge").rglob("*.py")
        if any(name.partition(".")[0] == runtime for name in (*texts_in(path), *imports_of(path)))
    }
    assert users == {"classifier"}


def texts_in(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def levels():
    """Of each module in the map, its line."""
    lines = (edge.__doc__ or "").split("::")[1].splitlines()
    named = [line[4:48].replace(",", " ").split() for line in lines if line.startswith("    ")]
    return {name: i for i, names in enumerate(named) for name in names}


def wrong_arrows(path, own, level):
    """What ``path``, the code of the module ``own``, imports from below its line."""
    modules = {name.split(".")[1] for name in imports_of(path) if name.startswith("edge.")}
    # What the map does not name is no module: it names all of them.
    return [name for name in modules & set(level) if level[name] > level[own]]


def test_the_map_names_every_module_and_arrows_go_up():
    level = levels()
    modules = {path.stem for path in (ROOT / "edge").glob("*.py")} - {"__init__"}
    assert set(level) == modules | {"frontend"}
    for path in (ROOT / "edge").rglob("*.py"):
        own = path.relative_to(ROOT / "edge").with_suffix("").parts[0]
        if own == "__init__":
            assert not list(imports_of(path))  # it stands above all lines
        else:
            assert not wrong_arrows(path, own, level), own


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("from edge import service", ["service"]),
        ("def f():\n    from edge import hann, doctor as d", ["doctor"]),
        ("from edge.service import Service", ["service"]),
        ("import edge.service", ["service"]),
        ("from edge import __version__, hann\nimport numpy", []),
    ],
)
def test_an_arrow_that_goes_down_is_noticed(tmp_path, code, wrong):
    (tmp_path / "gate.py").write_text(code)
    assert wrong_arrows(tmp_path / "gate.py", "gate", levels()) == wrong
