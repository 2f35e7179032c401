"""Outcomes in, truth on disk: the run directory, results, the failed file, the tally."""
