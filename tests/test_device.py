"""Which device trains."""

import pytest
import torch

from convert.device import half_precision, report_out_of_memory, training_device
from convert.errors import DatasetError


def test_a_gpu_that_torch_has_no_code_for_leaves_the_cpu_and_is_said(monkeypatch, capsys):
    def ones(*_, **__):
        raise torch.AcceleratorError("CUDA error: no kernel image is available\nadvice\n")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", ones)
    assert training_device().type == "cpu"
    assert capsys.readouterr().err == (
        "note: training on the CPU: torch cannot use the GPU: "
        "CUDA error: no kernel image is available\n"
    )


@pytest.mark.parametrize(("available", "device"), [(True, "cuda"), (False, "cpu")])
def test_a_gpu_that_works_trains(monkeypatch, capsys, available, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda n, device: ones(n))
    assert training_device().type == device
    assert capsys.readouterr().err == ""


def test_a_gpu_whose_memory_another_program_holds_is_no_reason_for_the_cpu(monkeypatch):
    def ones(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", ones)
    with pytest.raises(DatasetError, match="end other programs"), report_out_of_memory(64):
        training_device()


def test_a_gpu_that_only_emulates_bfloat16_computes_without(monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, enabled: enabled)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation
    )
    assert not half_precision(torch.device("cuda"))
