"""One carrying-out of a job: prepare, pipeline, control, schedule."""
