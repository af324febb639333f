"""Risk in money: volatility, value at risk and expected shortfall of the next hour and day, per symbol and for a book."""
