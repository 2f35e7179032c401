"""The live page of a run, served by the run itself."""
