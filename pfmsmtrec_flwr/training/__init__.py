"""Training and evaluating the model of one scenario on its own rows."""
