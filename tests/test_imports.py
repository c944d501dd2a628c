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
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", sorted((ROOT / "edge").rglob("*.py")), ids=lambda p: p.name)
def test_edge_never_imports_convert(path):
    assert not [name for name in imports_of(path) if name.partition(".")[0] == "convert"]


@pytest.mark.parametrize(
    ("package", "module"),
    [("pyaudio", "capture_process"), ("gpiozero", "lamp"), ("ai_edge_litert", "classifier")],
)
def test_each_device_package_is_known_to_one_module_at_most(package, module):
    users = {
        path.stem
        for path in (ROOT / "edge").rglob("*.py")
        if any(name.partition(".")[0] == package for name in imports_of(path))
    }
    assert users <= {module}


def test_the_map_names_every_module_and_arrows_go_up():
    lines = (edge.__doc__ or "").split("::")[1].splitlines()
    levels = [line[4:48].replace(",", " ").split() for line in lines if line.startswith("    ")]
    level = {name: i for i, names in enumerate(levels) for name in names}
    modules = {path.stem for path in (ROOT / "edge").glob("*.py")} - {"__init__"}
    assert set(level) == modules | {"frontend"}
    for path in (ROOT / "edge").rglob("*.py"):
        own = path.relative_to(ROOT / "edge").with_suffix("").parts[0]
        for name in imports_of(path):
            used = name.split(".")[1:2] if name.startswith("edge.") else []
            assert all(level[u] <= level[own] for u in used if own != "__init__"), (own, name)
