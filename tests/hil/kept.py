"""Records that lie in the black box's folder before a fault, and what is there after it."""

from pathlib import Path

from edge.blackbox import PIN, BlackBox
from edge.config import BlackBoxConfig
from tests.listener import SR
from tests.test_blackbox import alert, check_record, records

COUNT = 2


class Kept:
    """Small records, made by the black box itself, which must outlive what comes."""

    def __init__(self, folder: Path, *, pinned: bool = False):
        """Put them into ``folder``; ``pinned``: they may not even make room for others."""
        self.folder = folder
        box = BlackBox(folder, BlackBoxConfig(), SR)
        for number in range(1, COUNT + 1):
            assert box.keep(alert(number, seconds=0.2))
        box.close(20.0)
        assert records(folder) == [f"{number:06d}" for number in range(1, COUNT + 1)]
        if pinned:
            for name in records(folder):
                (folder / name / PIN).touch()
        self.names = records(folder)
        self._before = contents(folder)

    def later(self) -> list[str]:
        """Names of the records that have come since."""
        return [name for name in records(self.folder) if name not in self.names]

    def check(self) -> str:
        """In words, that all are there, every byte; AssertionError if not, or if more is there.

        Records that have come since are whole; of the black box's own work nothing is left over.
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
    """All that lies in ``folder``, by its name from there: a file's bytes, a folder's None."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }
