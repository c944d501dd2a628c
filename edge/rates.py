"""Which sampling rates are accepted."""

RATES = (8_000, 192_000)  # lowest and highest, Hz
