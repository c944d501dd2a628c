import io

import numpy as np
from PIL import Image

from edge.png import encode_png, write_png


def test_another_reader_sees_the_same_picture(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (50, 31, 3), dtype=np.uint8)
    write_png(tmp_path / "a.png", picture)
    with Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())) as image:
        assert image.mode == "RGB"
        image.verify()  # checksums
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), picture)


def test_the_same_picture_gives_the_same_file():
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    assert encode_png(picture) == encode_png(picture.copy())
