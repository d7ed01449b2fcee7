"""Methods side by side: tuned with equal budgets, run with several seeds, tested and tabulated."""
