"""Fixtures of the tests on a virtual microphone."""

import os

import pytest

from tests.hil.fault_table import Row, document
from tests.hil.program import ROOT, Program, engine

TABLE = ROOT / "docs" / "faults.md"


@pytest.fixture(scope="session")
def table():
    """Rows of the fault table; with ``KNOCK_WRITE_FAULTS`` set they become ``docs/faults.md``."""
    rows: list[Row] = []
    yield rows
    if os.environ.get("KNOCK_WRITE_FAULTS"):
        TABLE.write_text(document(rows))


@pytest.fixture
def program(tmp_path):
    """The program, not started yet."""
    program = Program(tmp_path)
    yield program
    program.close()


@pytest.fixture
def listening(program):
    """The program, running and listening."""
    program.rig.start_server()
    program.rig.play(engine())
    program.start()
    program.wait("listening", 30)
    return program
