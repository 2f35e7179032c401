"""Outcomes to disk: the journal, the result files, the run directory, its lock, statistics."""
