"""`engager init`: a job file for an input, valid at once, that reaches no person until it is changed."""
