"""An input in, a job file for it out: guessed, valid at once, and unable to reach anybody as it is."""
