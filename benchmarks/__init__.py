"""How fast the device's way is, as a ratio against librosa + matplotlib + torch in the same run."""
