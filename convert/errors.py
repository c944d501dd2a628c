"""Errors of the workstation side, each with an exit code, as in ``edge.errors``."""

from edge.errors import EdgeError


class ConvertError(EdgeError):
    """Base class of all errors that ``convert`` raises deliberately."""

    exit_code = 10


class CheckpointError(ConvertError, ValueError):
    """A checkpoint is damaged, unsafe, or not of a ResNet34 with two classes."""

    exit_code = 11


class DatasetError(ConvertError, ValueError):
    """Recordings or examples cannot be used for training, calibration or grading."""

    exit_code = 12


class ExportError(ConvertError, RuntimeError):
    """A converter failed or produced something that must not be used."""

    exit_code = 13


class ParityError(ExportError):
    """The exported network's answers differ from the original's."""

    exit_code = 14
