"""KnockKnock Edge, device side: hear an engine knock with numpy, scipy and a TFLite runtime.

Arrows point one way; a module imports only from its own line and those above it::

    errors, quiet, hann                         what can go wrong; libraries that chatter
    window, gate, detector, wav, png            leaves: pure, no clock, no hardware
    config                                      the settings of what is above and below
    frontend                                    2 s of audio -> spectrogram picture
    model, classifier                           picture -> probability of knocking
    capture, replay                             recordings
    capture_process, microphone                 PortAudio, in a process of its own
    lamp, indicator, blackbox, health, journal  lamp, disk, board and systemd, log
    pipeline                                    the straight line from block to verdict
    service                                     all of it, for as long as there is power
    devices_command, run_command, doctor        edge devices, edge run, edge doctor
    cli, __main__                               edge predict, and the command line
"""

__version__ = "0.1.0"
