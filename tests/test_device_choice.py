"""Which of the inputs the settings mean."""

import pytest

from edge.capture_process import Input, choose, usb_id_of
from edge.errors import AudioDeviceError


def device(index, name, usb=""):
    return Input(index, name, 1, usb)


INPUTS = [
    device(0, "HDA Intel: Analog (hw:0,0)"),
    device(3, "USB PnP: Audio (hw:1,0)", "0d8c:0014"),
    device(5, "USB Camera: Audio (hw:2,0)", "046d:0825"),
]


def test_choosing_by_name_and_usb_id():
    assert choose(INPUTS, "analog", None).index == 0
    assert choose(INPUTS, "0d8c:0014", None).index == 3
    assert choose(INPUTS, "camera", 3).index == 5
    assert choose(INPUTS, "", 5).index == 5
    assert choose(INPUTS, "0D8C:0014", None).index == 3
    assert choose(INPUTS, "USB PnP: Audio (hw:1,0)", None).index == 3
    assert choose(INPUTS, "USB PnP: Audio (hw:7,0)", None).index == 3  # as it was before a boot


def test_of_two_alike_the_number_tells_which():
    alike = [device(3, "USB Mic (hw:1,0)"), device(4, "USB Mic (hw:2,0)")]
    assert choose(alike, "USB Mic (hw:2,0)", None).index == 4
    with pytest.raises(AudioDeviceError, match="ambiguous"):
        choose(alike, "USB Mic", None)


@pytest.mark.parametrize(
    ("inputs", "wanted", "words"),
    [
        (INPUTS, "USB", "ambiguous.*USB PnP.*USB Camera"),
        (INPUTS, "3", "no microphone matches '3'"),  # an index is not a name,
        (INPUTS, "1", "no microphone matches '1'"),  # nor is the number of a card
        (INPUTS, "hw:1,0", "no microphone matches"),
        (INPUTS, "(hw:1,0)", "no microphone matches"),
        ([], "", "there is no microphone"),
        ([], "USB", "there is no microphone"),
    ],
)
def test_what_is_not_clear_is_an_error_with_the_candidates(inputs, wanted, words):
    with pytest.raises(AudioDeviceError, match=words):
        choose(inputs, wanted, None)


def test_usb_ids_come_from_the_cards(tmp_path):
    (tmp_path / "card1").mkdir()
    (tmp_path / "card1" / "usbid").write_text("0d8c:0014\n")
    assert usb_id_of("USB PnP: Audio (hw:1,0)", str(tmp_path)) == "0d8c:0014"
    assert usb_id_of("HDA (hw:0,0)", str(tmp_path)) == ""
    assert usb_id_of("pulse", str(tmp_path)) == ""
