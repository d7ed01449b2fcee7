"""Encoders that map categorical values to rows of embedding tables."""
