"""How much faster the device's code is than librosa + matplotlib + torch, in the same run."""
