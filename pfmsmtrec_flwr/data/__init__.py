"""Schemas, readers, encoders, the prepared store and batches of it."""
