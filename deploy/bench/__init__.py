"""Benchmarks: what livetwin costs on the machine it runs on. `make bench` runs all of them."""
