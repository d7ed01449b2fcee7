"""Flower's own processes: start, wait, end."""
