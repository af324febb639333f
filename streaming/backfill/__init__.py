"""Years of the past from the exchange's public archive into the lake: checked, resumable, in bounded memory."""
