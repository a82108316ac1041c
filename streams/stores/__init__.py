"""Stores: where history, alerts and swaps are kept for queries. One port, one contract suite, many backends."""
