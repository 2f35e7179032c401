"""What engager is measured beside: three loops in Python, and the scripts of wrk and k6."""
