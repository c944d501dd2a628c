"""Which sampling rates are taken."""

RATES = (8_000, 192_000)  # lowest and highest, Hz
