"""Folders of recordings with their labels."""

from pathlib import Path

from convert.dataset import Clip
from tests.audio import noise, wav_file

SR = 22_050


def sound(path, seed=0, seconds=2.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    return wav_file(path, noise(seconds, seed=seed).astype("f8"), SR)


def table(folder, *rows, header="file,label,source"):
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n")


def clips(**sources):
    return [
        Clip(Path(f"{s}_{i}"), label, "engine", s)
        for label, names in sources.items()
        for s in names
        for i in range(3)
    ]
