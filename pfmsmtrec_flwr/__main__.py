"""The `pfmsmtrec` command as ``python -m pfmsmtrec_flwr``."""

from pfmsmtrec_flwr.cli.entry import main

if __name__ == "__main__":
    main()
