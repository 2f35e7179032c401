"""One run of a job, from the job file to the summary: prepare, pipeline, control, schedule."""
