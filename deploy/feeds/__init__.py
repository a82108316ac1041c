"""Demo feeds: ordinary producers of the public contract. The simulated water network, this machine, files."""
