"""Policies: pure values without clock and I/O, which the sending layers and the run apply."""
