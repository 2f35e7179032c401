"""Questions to the platform about itself: connection, deduplication, scenarios."""
