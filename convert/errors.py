"""Errors of the workstation side, one exit code each, in the style of ``edge.errors``."""

from edge.errors import EdgeError


class ConvertError(EdgeError):
    """Base of all errors ``convert`` raises on purpose."""

    exit_code = 10


class CheckpointError(ConvertError, ValueError):
    """A checkpoint is damaged, unsafe, or holds another network than ResNet34 with two classes."""

    exit_code = 11


class DatasetError(ConvertError, ValueError):
    """A folder of recordings cannot be trained on, calibrated with or graded."""

    exit_code = 12


class ExportError(ConvertError, RuntimeError):
    """A converter failed or produced something that must not be used."""

    exit_code = 13


class ParityError(ExportError):
    """The exported network does not say the same as the original."""

    exit_code = 14
