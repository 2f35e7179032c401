"""A run directory in, one page of HTML out that needs nothing else: how the run went."""
