"""Makes docs/pictures.png: what the network sees of a synthetic engine, healthy and knocking."""

import argparse
import contextlib
import io
import sys
import tempfile
from pathlib import Path

import numpy as np

from convert.made import write_demo
from edge.cli import run_cli
from edge.frontend import FrontEnd
from edge.png import write_png
from edge.recording import Recording

OUT = Path("docs/pictures.png")


def main() -> int:
    """Write both pictures side by side, at twice their size."""
    parser = argparse.ArgumentParser(prog="pictures", description=__doc__)
    parser.set_defaults(run=_run)
    return run_cli(parser, None)


def _run(_: argparse.Namespace) -> int:
    front_end = FrontEnd()
    with tempfile.TemporaryDirectory() as name:
        with contextlib.redirect_stdout(io.StringIO()):  # it names files that do not stay
            write_demo(Path(name))
        pictures = [
            front_end.picture(Recording(Path(name) / f"{which}.wav", end_s=2).read())
            for which in ("healthy", "knocking")
        ]
    side_by_side = np.concatenate([picture[20:-20, 20:-15] for picture in pictures], axis=1)
    write_png(OUT, side_by_side.repeat(2, axis=0).repeat(2, axis=1))
    print(f"wrote {OUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
