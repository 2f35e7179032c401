"""Transports: one request out, one ending back. HTTP/1.1 of our own, and aiohttp."""
