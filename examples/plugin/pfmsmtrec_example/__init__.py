"""A method, an architecture and a data set for pfmsmtrec-flwr."""
