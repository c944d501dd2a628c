"""KnockKnock Edge, device side: hear an engine knock with numpy, scipy and a TFLite runtime.

Arrows point one way; a module imports only from its own line and those above it::

    errors, quiet, hann, rates, finding, child  what can go wrong; small helpers
    gate_config, detector, window, source, pace leaves: pure, no clock, no files, no hardware
    repetition, hiss, gate                      is a window fit to be judged?
    files, wav, png                             files, written whole or not at all
    config, installed                           the settings of what is above and below
    frontend                                    2 s of audio -> spectrogram picture
    temperature                                 how sure an answer is
    model, classifier, golden                   picture -> probability of knocking, and a proof
    missing_sound, decoders, recording, replay  recordings
    capture_start, capture_process              PortAudio, in a process of its own
    capture_stream, microphone, sound_check     what comes from there
    sound_memory                                the last seconds of sound
    lamp, indicator, blackbox, health, journal  lamp, disk, board and systemd, log
    hang_up                                     a reload, or a terminal that has gone
    pipeline                                    the straight line from block to verdict
    status                                      one state: what lamp and status say
    service                                     all of it, for as long as there is power
    assembly                                    all of it put together
    arguments                                   names of files on a command line
    predict_command, devices_command            edge predict, edge devices
    run_command, doctor                         edge run, edge doctor
    cli, __main__                               the command line; loads what is asked for
"""

__version__ = "0.1.0"
