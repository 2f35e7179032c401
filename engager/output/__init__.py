"""What people and programs see of a run: terminal, logs, webhook, report, live page."""
