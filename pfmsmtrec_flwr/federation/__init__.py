"""The federated round: messages, client, local state, server strategy, and the grids that carry the messages."""
