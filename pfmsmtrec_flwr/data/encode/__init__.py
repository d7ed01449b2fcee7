"""Categorical values as rows of embedding tables."""
