"""Saved models, and what turns them into probabilities."""
