"""The listener on virtual hardware: real PortAudio, ALSA and a sound server, paced in real time."""
