"""Evaluations: how well livetwin detects, on public benchmarks, beside what others published."""
