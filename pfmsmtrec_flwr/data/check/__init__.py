"""Check of prepared scenarios for leaks: features, tasks and days that say more than they should."""
