"""A run directory to one self-contained page of HTML."""
