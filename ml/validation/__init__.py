"""The gate between lake and models: suites of expectations over partitions, the quarantine, and data docs for people."""
