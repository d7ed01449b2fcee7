"""Personalized federated multi-scenario multi-task recommendation (PF-MSMTrec) on Flower."""

__version__ = "0.2.0"
