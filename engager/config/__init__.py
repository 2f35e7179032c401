"""The job file: its sections, placeholders and secrets, checked, with the place of every error."""
