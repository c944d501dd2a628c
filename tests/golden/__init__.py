"""Golden arrays, and the script that makes them from librosa and matplotlib."""
