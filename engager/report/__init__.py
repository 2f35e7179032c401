"""A run directory in, one page of HTML out that needs nothing else: for whoever wants to see how a run went."""
