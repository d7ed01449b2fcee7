"""Flower's own processes, started and ended."""
