"""Records in the black box's folder before a fault, and whether they are intact after it."""

from pathlib import Path

from edge.blackbox import PIN_FILE, BlackBox
from edge.config import BlackBoxConfig
from tests.listener import SR
from tests.test_blackbox import alert, check_record, records

COUNT = 2


class Kept:
    """Small records, written by the black box itself, that must survive a fault."""

    def __init__(self, folder: Path, *, pinned: bool = False):
        """Write them to ``folder``; ``pinned`` ones may not even be dropped to make room."""
        self.folder = folder
        box = BlackBox(folder, BlackBoxConfig(), SR)
        for number in range(1, COUNT + 1):
            assert box.keep(alert(number, seconds=0.2))
        box.close(20.0)
        assert records(folder) == [f"{number:06d}" for number in range(1, COUNT + 1)]
        if pinned:
            for name in records(folder):
                (folder / name / PIN_FILE).touch()
        self.names = records(folder)
        self._before = contents(folder)

    def later(self) -> list[str]:
        """Names of the records written since."""
        return [name for name in records(self.folder) if name not in self.names]

    def check(self) -> str:
        """Check that all records are identical in every byte; say so in words.

        AssertionError if not, if a record written since is incomplete, or if any other file is left
        over, such as the black box's temporary ones.
        """
        after = contents(self.folder)
        missing = sorted(set(self._before) - set(after))
        assert not missing, f"lost: {missing}"
        changed = [name for name, content in self._before.items() if after[name] != content]
        assert not changed, f"changed: {changed}"
        for name in self.later():
            check_record(self.folder / name)
        more = {name for name in after if name.split("/")[0] not in self.later()}
        left_over = sorted(more - set(self._before))
        assert not left_over, f"left over: {left_over}"
        there = [name for name in self.names if check_record(self.folder / name)]
        return f"yes, {len(there)} records"


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything in ``folder`` by relative path: the bytes of a file, None for a folder."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }
