"""KnockKnock Edge, device side: detect engine knock with numpy, scipy and a TFLite runtime.

Imports go one way: a module imports only from its own line and from those above it::

    errors, quiet, hann, band, rates, finding,
    child, float_mode, packages                 errors and small helpers
    gate_config, detector, window, source       pure logic: no clock, no files, no hardware
    rate_monitor, sound_clock                   sound against the machine's clock, also pure
    repetition, hiss, gate                      is a window fit to be judged?
    files, wav, png                             files that are written completely or not at all
    config, installed                           the settings, and where files are installed
    frontend                                    2 s of audio -> spectrogram picture
    temperature                                 calibration of probabilities
    model, classifier, golden                   picture -> probability of knocking; its self-test
    missing_sound, piece                        recordings: what is lacking, what decoders share
    av_decoder, soundfile_decoder, decoders     decoding them
    recording, replay                           recordings as blocks of sound
    capture_start, capture_process              PortAudio, in a process of its own
    capture_stream, microphone, sound_check     the captured sound, supervised and checked
    sound_memory                                the last seconds of sound
    lamp, indicator, blackbox, health, journal  lamp, records, board and systemd, log
    sighup                                      what SIGHUP means
    pipeline                                    from blocks of sound to verdicts
    status                                      one state, from which lamp and status file follow
    service                                     the listener
    assembly                                    builds the service from its settings
    arguments                                   argument types shared by the commands
    predict_command, devices_command            edge predict, edge devices
    run_command, doctor                         edge run, edge doctor
    cli, __main__                               the command line; imports only what it needs
"""

__version__ = "0.1.0"
