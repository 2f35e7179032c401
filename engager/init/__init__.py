"""`engager init`: an input to a job file that is valid at once and reaches nobody as it is."""
