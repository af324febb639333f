"""Value at risk held against what came, in a trial on past candles and live, by the same figures."""
