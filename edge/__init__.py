"""KnockKnock Edge, device side: hear an engine knock with numpy, scipy and a TFLite runtime.

Arrows point one way; a module imports only from its own line and those above it::

    errors, quiet, hann, finding, child         what can go wrong; small helpers
    window, repetition, hiss, gate, detector    leaves: pure, no clock, no files, no hardware
    pace                                        samples against the clock; pure, too
    files, wav, png                             files, written whole or not at all
    config                                      the settings of what is above and below
    frontend                                    2 s of audio -> spectrogram picture
    model, classifier, golden                   picture -> probability of knocking, and a proof
    capture, replay                             recordings
    capture_process, microphone, sound_check    PortAudio, in a process of its own
    lamp, indicator, blackbox, health, journal  lamp, disk, board and systemd, log
    pipeline                                    the straight line from block to verdict
    service                                     all of it, for as long as there is power
    devices_command, run_command, doctor        edge devices, edge run, edge doctor
    cli, __main__                               edge predict, and the command line
"""

__version__ = "0.1.0"
