"""A run in parts that processes of their own carry out: ranges of the input, under one book and one rate."""
