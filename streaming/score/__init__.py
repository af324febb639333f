"""The stage that scores every closed candle with the champions of the registry."""
