"""What the tests on a virtual microphone share."""

import os

import pytest

from tests.hil.program import ROOT, Program, engine

TABLE = ROOT / "docs" / "faults.md"
HEAD = """# Faults, and what the listener makes of them

Written by `make faults`, which causes each of these with the listener running on real
PortAudio and a virtual microphone, and reads what it says of itself from its `status.json`,
which it writes once a second: the state, here with the lamp's pattern for it, and the reason.

| fault | state: the lamp | the status says | shown after | back after it is mended |
|---|---|---|---|---|
"""


@pytest.fixture(scope="session")
def table():
    """Rows of the table; with ``KNOCK_WRITE_FAULTS`` set they become ``docs/faults.md``."""
    rows: list[tuple[str, ...]] = []
    yield rows
    if os.environ.get("KNOCK_WRITE_FAULTS"):
        TABLE.write_text(HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows))


@pytest.fixture
def program(tmp_path):
    """Not started yet."""
    program = Program(tmp_path)
    yield program
    program.close()


@pytest.fixture
def listening(program):
    """Running and well."""
    program.rig.start_server()
    program.rig.play(engine())
    program.start()
    program.wait("listening", 30)
    return program
