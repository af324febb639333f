"""What benchmarks share: the topic they measure on, floors, the machine, and how results are kept."""
