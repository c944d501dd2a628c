"""KnockKnock Edge, device side: hear an engine knock with numpy, scipy and a TFLite runtime.

Arrows point one way; a module imports only from the lines above its own::

    errors                                      what can go wrong, and its exit code
    wav, window, gate, detector, config         leaves: pure, no clock, no hardware
    frontend                                    2 s of audio -> spectrogram picture
    model, classifier                           picture -> probability of knocking
    capture, indicator, blackbox, health        the outside world, one module each
    pipeline                                    the straight line from block to verdict
    service, cli                                building the parts, running them
"""

__version__ = "0.1.0"
