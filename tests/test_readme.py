"""What README and ``--help`` say, held against the code."""

import argparse
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from convert.cli import _parser
from convert.dataset import NOT_HEALTHY
from convert.evaluate_command import EXAMPLES as EVALUATE_EXAMPLES
from convert.train_command import EXAMPLES as TRAIN_EXAMPLES
from edge import errors
from edge.cli import PREDICT_EXAMPLES, build_parser
from edge.gate import Fault

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PROGRAMS = {"edge": build_parser, "convert": _parser}


def blocks_of_code(text):
    """Lines of ``` blocks and of indented ones; what is indented inside a list is code, too."""
    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line


def commands(lines):
    """Words of each call of our programs: a prompt, a path before them and comments are none."""
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    for line in whole.splitlines():
        code = line.split(" #")[0].strip().removeprefix("$ ")
        for part in re.split(r"&&|\|", code):
            try:
                words = shlex.split(part)
            except ValueError:
                continue  # an apostrophe: no command of ours, see test_what_counts_as_a_command
            if words and Path(words[0]).name in PROGRAMS:
                yield [Path(words[0]).name, *words[1:]]


def helps(parser):
    """Its own help and that of all its commands."""
    yield parser.format_help()
    yield from (command.format_help() for command in commands_of(parser).values())


def commands_of(parser):
    """Parser of each of its commands, by name."""
    (action,) = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return action.choices


def examples(text):
    """Lines of a help's ``examples:``, to the next empty line; what stands beside is no code."""
    for part in re.findall(r"^examples:\n(.*?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL):
        for line in part.splitlines():
            yield re.split(r"(?<=\S) {3,}(?=\S)", line)[0]


def spans_of_code(text):
    """Whole calls between `back-ticks`, not names of options; `...` is what is left out."""
    prose = "\n".join(line for line in text.splitlines() if not line.startswith(("    ", "```")))
    for span in re.findall(r"`([^`]+)`", prose):
        words = span.split()
        if len(words) > 2 and not words[2].startswith("-") and "..." not in words:
            yield " ".join(words)


DOCUMENTS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "models/README.md")]
DOCUMENTS += ROOT.glob("docs/*.md")
IN_README = list(commands(blocks_of_code(README)))
IN_DOCUMENTS = [
    words
    for text in (path.read_text() for path in DOCUMENTS)
    for words in (*commands(blocks_of_code(text)), *commands(spans_of_code(text)))
]
IN_HELP = [
    words
    for make in PROGRAMS.values()
    for text in helps(make())
    for words in commands(examples(text))
]


@pytest.mark.parametrize("words", [*IN_DOCUMENTS, *IN_HELP], ids=" ".join)
def test_every_command_that_is_shown_can_be_given(words):
    program, *arguments = words
    parser = PROGRAMS[program]()
    for command in commands_of(parser) if "COMMAND" in arguments else [""]:
        try:
            parser.parse_args([command if word == "COMMAND" else word for word in arguments])
        except SystemExit as left:  # of --help
            assert left.code == 0, words


def test_commands_are_found_in_both():
    """Or nothing would be tested. Each program is there, and each of its commands has examples."""
    for found in (IN_README, IN_HELP):
        assert {words[0] for words in found} == set(PROGRAMS)
    assert ["convert", "train", "forty"] in [words[:3] for words in IN_DOCUMENTS]
    shown = {tuple(words[:2]) for words in IN_HELP}
    assert {("edge", "predict"), ("edge", "run"), ("convert", "train")} <= shown


def test_what_counts_as_a_command():
    text = """edge doctor in a sentence

    $ ~/knock/bin/edge predict *.flac --json | jq .   # more | edge words
    sudo edge run
    convert export a.pth --out b && edge doctor
    convert train a \\
      --out b
    edge's

```sh
edge devices
```
"""
    assert list(commands(blocks_of_code(text))) == [
        ["edge", "predict", "*.flac", "--json"],
        ["convert", "export", "a.pth", "--out", "b"],
        ["edge", "doctor"],
        ["convert", "train", "a", "--out", "b"],
        ["edge", "devices"],
    ]
    text = "`edge run`, `edge\npredict a`, `edge predict a ...`, `convert train --init`"
    assert list(commands(spans_of_code(text))) == [["edge", "predict", "a"]]
    shown = "examples:\n  edge run         listen\n  edge doctor\n\nedge predict"
    assert list(commands(examples(shown))) == [["edge", "run"], ["edge", "doctor"]]


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_tells_what_every_option_is_for(program):
    commands = commands_of(PROGRAMS[program]())
    options = [(name, action) for name in commands for action in commands[name]._actions]
    assert len(options) > 20
    assert [(name, action.dest) for name, action in options if not action.help] == []


def table(header):
    """First cells of the table whose header begins so, split where they name several."""
    (body,) = re.findall(rf"^\| *{header} *\|.*\n\|[-| ]+\n((?:\|.*\n)+)", README, re.MULTILINE)
    return [name for row in body.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def test_each_reason_for_unknown_has_one_row():
    assert sorted(table("reason")) == sorted(Fault)


def test_help_names_each_reason_that_a_file_can_have_once():
    told = PREDICT_EXAMPLES.partition("reasons:\n")[2]
    # Of a file nobody can say that its samples came too slowly; pieces of it are judged as files.
    assert sorted(re.findall(r"^  (\w+) ", told, re.MULTILINE)) == sorted(
        set(Fault) - {Fault.WRONG_RATE, Fault.GAP}
    )


def own_codes():
    """Exit code of each class of errors; 1 is what none has that has one of its own."""
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return {kind.exit_code for kind in classes if issubclass(kind, errors.EdgeError)}


def test_exit_codes_are_those_of_the_errors():
    """And 0, all is well, and 130, Ctrl-C."""
    expected = {0, 130} | own_codes()
    (told,) = re.findall(r"^Exit codes[^:]*: (.*?)\n\n", README, re.MULTILINE | re.DOTALL)
    assert {int(code) for code in re.findall(r"(?:^|,\s)(\d+) ", told)} == expected
    told_of = 0
    for text in helps(build_parser()):
        codes = text.partition("exit codes:\n")[2].partition("\nWith ")[0]
        if codes:
            assert {int(n) for n in re.findall(r"(?:^| {2,})(\d+) ", codes, re.MULTILINE)} == (
                expected
            )
            told_of += 1
    assert told_of == 2  # of edge, and of edge predict


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_links_lead_somewhere(document):
    for link in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if link.startswith("http"):
            continue
        path, _, heading = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        if heading:
            assert heading in headings(target.read_text()), link


def headings(text):
    """As they are linked to."""
    found = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_a_heading_is_known_by_its_words_alone():
    assert headings("# One\n## `two`, and Three\nno # four") == {"one", "two-and-three"}


def test_the_line_of_the_settings_that_names_a_model_is_the_one_to_change():
    """A second line with the same key would be no valid TOML, and the service would not start."""
    shipped = (ROOT / "systemd" / "edge.toml").read_text()
    ((old, new),) = re.findall(r"change the line `(.*?)` in its settings to `(.*?)`", README)
    assert shipped.count(f"\n{old} ") == 1
    changed = tomllib.loads(shipped.replace(f"\n{old} ", f"\n{new} "))
    assert changed["listen"]["model"] == "/etc/knockknock/my_car.tflite"


@pytest.mark.parametrize("text", [README, TRAIN_EXAMPLES, EVALUATE_EXAMPLES], ids=["README", *"te"])
def test_kinds_that_are_no_healthy_engine_are_named(text):
    (told,) = re.findall(r"healthy\s+engine\s+unless its kind is (.*?\))", text, re.DOTALL)
    assert set(re.findall(r"[a-z_]{4,}", told)) - {"contradicts", "label"} == NOT_HEALTHY


def test_the_packages_that_wheels_are_built_with_are_named():
    installer = (ROOT / "systemd" / "install.sh").read_text()
    online = re.findall(r"wanted=\"(?:\$wanted )?(.*?)\"", installer)
    assert len(online) == 2
    for text in (installer.partition("TEXT\n}")[0], (ROOT / "docs/raspberry-pi.md").read_text()):
        (built,) = re.findall(r"sudo apt install (python3-venv portaudio.*?)(?:  |`)", text)
        assert set(online[1].split()) <= set(built.split())
        assert set(online[0].split()) <= set(text.replace("`", " ").split())
