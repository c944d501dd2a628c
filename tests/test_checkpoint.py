import os
import pickle
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from convert.checkpoint import load_body, load_checkpoint, save_checkpoint
from convert.errors import CheckpointError
from convert.network import KnockNet
from convert.restricted import read_checkpoint
from edge.errors import ConfigError
from tests.networks import checkpoint, random_network, torchvision_state


@pytest.fixture(scope="module")
def network():
    return random_network()


def same(one, other, tolerance=0.0):
    ours, theirs = one.state_dict(), other.state_dict()
    return all((ours[k] - theirs[k]).abs().max() <= tolerance * ours[k].abs().max() for k in ours)


@pytest.mark.parametrize("style", ["v1", "v2"])
@pytest.mark.parametrize("layout", ["bare", "optimiser", "optimiser, 2019", "safetensors"])
def test_layouts(tmp_path, style, layout):
    original = random_network(style)
    suffix = "safetensors" if layout == "safetensors" else "pth"
    loaded = load_checkpoint(checkpoint(tmp_path / f"a.{suffix}", original, layout))
    assert loaded.layout.startswith(f"fastai {style}")
    assert loaded.labels is None
    assert same(original, loaded.network)
    assert not loaded.network.training


def test_what_stands_in_for_the_optimiser_keeps_nothing_and_is_trusted_nowhere_else(tmp_path):
    before = set(torch.serialization.get_safe_globals())  # in no order
    content = {"model": random_network().state_dict(), "meta": {"threshold": np.float64(0.7)}}
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"threshold <.*_Ignored.* must lie between 0 and 1"):
        load_checkpoint(tmp_path / "a.pth")
    assert set(torch.serialization.get_safe_globals()) == before


def test_ours_keep_labels_and_meta(tmp_path, network):
    save_checkpoint(tmp_path / "a.pth", network, labels=("knocking", "normal"), meta={"seed": 3})
    loaded = load_checkpoint(tmp_path / "a.pth")
    assert loaded.labels == ("knocking", "normal")
    assert loaded.meta["seed"] == 3
    assert same(network, loaded.network, 2**-10)  # float16 keeps 11 bits
    assert (tmp_path / "a.pth").stat().st_size < 45e6


def test_a_torchvision_body(tmp_path, network):
    torch.save(torchvision_state(network), tmp_path / "resnet34.pth")
    fresh = KnockNet()
    load_body(tmp_path / "resnet34.pth", fresh)
    assert same(network.body, fresh.body)
    with pytest.raises(CheckpointError, match="--pretrained"):
        load_checkpoint(tmp_path / "resnet34.pth")


def test_a_whole_network_is_no_body(tmp_path, network):
    save_checkpoint(tmp_path / "a.pth", network, labels=("knocking", "normal"), meta={})
    torch.save(network.state_dict(), tmp_path / "b.pth")
    for name in "a.pth", "b.pth":
        with pytest.raises(CheckpointError, match=r"a whole network, .* --init"):
            load_body(tmp_path / name, KnockNet())


def test_a_body_with_another_shape(tmp_path, network):
    state = torchvision_state(network)
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"torchvision's resnet34: .*0\.weight is \(64, 1, 7"):
        load_body(tmp_path / "a.pth", KnockNet())


def test_every_mismatch_is_named(tmp_path, network):
    state = network.state_dict()
    del state["0.4.0.conv1.weight"]
    state["surprise"] = torch.zeros(1)
    state["0.1.bias"] = torch.zeros(3)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "a.pth")
    for words in (
        "1 missing: 0.4.0.conv1.weight",
        "1 unexpected: surprise",
        "0.1.bias is (3,) instead of (64,)",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize("lost", ["1.4.bias", "1.8.bias"])
def test_a_head_that_lost_a_bias_is_still_of_its_layout(tmp_path, lost):
    state = KnockNet(head="v1").state_dict()
    del state[lost], state["0.0.weight"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=f"head: 2 missing: 0.0.weight, {lost}$"):
        load_checkpoint(tmp_path / "a.pth")


def test_three_classes(tmp_path):
    three = {"1.8.weight": torch.zeros(3, 512), "1.8.bias": torch.zeros(3)}
    torch.save(KnockNet().state_dict() | three, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="3 classes"):
        load_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(tmp_path, value):
    state = random_network().state_dict()
    state["0.6.1.conv2.weight"][0, 0, 0, 0] = value
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"not finite: 0\.6\.1\.conv2\.weight"):
        load_checkpoint(tmp_path / "a.pth")


class Bomb:
    """Makes a folder when it is unpickled without restraint."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(("how", "named"), [("torch", r" \(posix\.mkdir\)"), ("pickle", "")])
def test_a_pickle_that_would_run_code_runs_none(tmp_path, how, named):
    exploded = tmp_path / "exploded"
    content = {"model": random_network().state_dict(), "opt": Bomb(exploded)}
    if how == "torch":
        torch.save(content, tmp_path / "a.pth")
    else:
        (tmp_path / "a.pth").write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match=f"tensors{named} and was not read.* could run code"):
        load_checkpoint(tmp_path / "a.pth")
    assert not exploded.exists()
    pickle.loads(pickle.dumps(Bomb(exploded)))  # noqa: S301 - it is armed
    assert exploded.exists()


def test_a_protocol_that_the_restricted_unpickler_lacks_is_named(tmp_path):
    torch.save(KnockNet().state_dict(), tmp_path / "a.pth", pickle_protocol=4)
    with pytest.raises(CheckpointError, match=r"save it again with .*, without pickle_protocol$"):
        load_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + bytes(100)])
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_garbage(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {"model": 3}, torch.zeros(3), {1: torch.zeros(2)}])
def test_other_things_than_parameters(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"parameters|missing"):
        load_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"threshold": "high"}, "threshold 'high' must lie between 0 and 1"),
        ({"temperature": 0}, "temperature 0 must lie"),
        ({"trained_on": None}, "not a list of names"),
        ({"labels": ["a", "b"]}, "two are needed, one of them knocking"),
    ],
)
def test_what_it_says_of_itself_makes_no_sense(tmp_path, network, meta, words):
    torch.save({"model": network.state_dict(), "meta": meta}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(tmp_path / "a.pth")


def test_a_web_page_is_no_dangerous_pickle(tmp_path):
    (tmp_path / "a.pth").write_text("<!doctype html><title>404</title>")
    with pytest.raises(CheckpointError, match="neither an archive"):
        load_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("style", ["v1", "v2"])  # v2's last layer has no bias
def test_answers_in_the_other_order_are_turned_round(tmp_path, style):
    network = random_network(style)
    with torch.no_grad():
        for name, values in network.named_parameters():
            if name.endswith("bias"):
                values.uniform_(-0.5, 0.5)
    x = torch.randn(2, 3, 64, 64)
    meta = {"labels": ["normal", "knocking"]}
    torch.save({"model": network.state_dict(), "meta": meta}, tmp_path / "a.pth")
    said = load_checkpoint(tmp_path / "a.pth")
    with torch.no_grad():
        before = said.network(x)
        assert torch.equal(said.knocking_first()(x), before.flip(1))
    torch.save(network.state_dict(), tmp_path / "b.pth")
    silent = load_checkpoint(tmp_path / "b.pth")
    told = load_checkpoint(tmp_path / "b.pth", labels=("normal", "knocking"))
    with torch.no_grad():
        assert torch.equal(silent.knocking_first()(x), before)
        assert torch.equal(told.knocking_first()(x), before.flip(1))


def test_what_it_says_of_itself_may_be_corrected(tmp_path, network):
    meta = {"labels": ["knock", "ok"], "threshold": 1.0, "temperature": -1}
    torch.save({"model": network.state_dict(), "meta": meta}, tmp_path / "a.pth")
    labels = ("normal", "knocking")
    loaded = load_checkpoint(tmp_path / "a.pth", labels=labels, threshold=0.7, temperature=2.0)
    assert (loaded.labels, loaded.threshold, loaded.temperature) == (labels, 0.7, 2.0)


def test_labels_that_it_says_itself_are_not_overruled(tmp_path, network):
    """The answers would be turned round, and nothing later would notice."""
    save_checkpoint(tmp_path / "a.pth", network, labels=("knocking", "normal"), meta={})
    with pytest.raises(ConfigError, match=r"--labels normal,knocking: .* are knocking,normal"):
        load_checkpoint(tmp_path / "a.pth", labels=("normal", "knocking"))
    same = load_checkpoint(tmp_path / "a.pth", labels=("knocking", "normal"))
    assert same.labels == ("knocking", "normal")


def test_what_half_precision_cannot_hold_is_kept_whole(tmp_path):
    network = random_network()
    with torch.no_grad():
        network.state_dict()["0.1.running_var"][0] = 7e4
    save_checkpoint(tmp_path / "a.pth", network, labels=("knocking", "normal"), meta={})
    again = load_checkpoint(tmp_path / "a.pth").network.state_dict()
    assert again["0.1.running_var"][0] == 7e4
    stored = torch.load(tmp_path / "a.pth", weights_only=True)["model"]
    assert stored["0.0.weight"].dtype == torch.float16


@pytest.mark.parametrize("odd", ["sparse", "complex", "quantised", "float8", "meta", "nested"])
@pytest.mark.filterwarnings("ignore")  # torch, of quantised and nested ones
def test_weights_of_a_kind_that_is_no_network_s(tmp_path, network, odd):
    state = dict(network.state_dict())
    name = "1.8.weight"
    made = {
        "sparse": lambda w: w.to_sparse(),
        "complex": lambda w: w + 1j,
        "quantised": lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8),
        "float8": lambda w: w.to(torch.float8_e4m3fn),
        "meta": lambda w: w.to("meta"),
        "nested": lambda w: torch.nested.nested_tensor([w[0], w[1, :3]]),
    }
    state[name] = made[odd](state[name])
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"quantised or similar weights: 1\.8\.weight"):
        load_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["labels", "threshold", "temperature", "trained_on"])
def test_a_tensor_among_what_it_says_of_itself_is_refused(tmp_path, network, name):
    content = {"model": network.state_dict(), "meta": {name: torch.zeros(3)}}
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "a.pth")


def test_a_start_that_it_does_not_say_clearly_is_unknown(tmp_path, network):
    for unknown, complete in ((False, True), (True, False), (torch.zeros(3), False)):
        meta = {"trained_on": ["golf"], "start_unknown": unknown}
        torch.save({"model": network.state_dict(), "meta": meta}, tmp_path / "a.pth")
        assert load_checkpoint(tmp_path / "a.pth").trained_on.complete is complete


def test_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(tmp_path / "none.pth")


@pytest.mark.parametrize("name", ["a.tflite", "a.pth", "a.safetensors"])
def test_a_tflite_model_is_no_damaged_checkpoint(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    said = f"{name} is a TFLite model: give the .pth it was made from"
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(tmp_path / name)
    with pytest.raises(CheckpointError, match=said):
        load_body(tmp_path / name, KnockNet())


def test_an_order_is_known_by_where_knocking_stands_whatever_the_other_is_called(tmp_path, network):
    save_checkpoint(tmp_path / "a.pth", network, labels=("knocking", "healthy"), meta={})
    save_checkpoint(tmp_path / "b.pth", network, labels=("healthy", "knocking"), meta={})
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = load_checkpoint(tmp_path / "a.pth").network(x)
        assert torch.equal(load_checkpoint(tmp_path / "a.pth").knocking_first()(x), before)
        assert torch.equal(load_checkpoint(tmp_path / "b.pth").knocking_first()(x), before.flip(1))


def test_an_old_checkpoint_without_batch_counters_is_read(tmp_path, network):
    state = {k: v for k, v in network.state_dict().items() if "num_batches_tracked" not in k}
    assert len(state) < len(network.state_dict())
    torch.save(state, tmp_path / "a.pth")
    assert same(network, load_checkpoint(tmp_path / "a.pth").network)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_threshold_that_calls_all_or_nothing_knocking_is_refused(tmp_path, network, threshold):
    meta = {"threshold": threshold}
    torch.save({"model": network.state_dict(), "meta": meta}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="must lie between 0 and 1"):
        load_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_learning_rates_of_either_numpy_are_passed_over(tmp_path, monkeypatch, module):
    """As one-cycle training leaves them; numpy 2 has another name for its numbers."""

    def scalar(*_):
        raise AssertionError("was built")

    class Rate:
        def __reduce_ex__(self, _):
            return scalar, (np.dtype("f8"), b"\0" * 8)

    scalar.__module__, scalar.__qualname__ = module, "scalar"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, module, ModuleType(module))
        vars(sys.modules[module])["scalar"] = scalar
        torch.save({"model": {"a": torch.zeros(1)}, "opt": Rate()}, tmp_path / "a.pth")
    assert set(read_checkpoint(tmp_path / "a.pth")["model"]) == {"a"}
