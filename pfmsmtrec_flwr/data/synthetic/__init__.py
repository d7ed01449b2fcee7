"""Made-up scenarios, drawn from a known truth."""
