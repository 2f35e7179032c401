"""Transports, which send one request and return its ending: an own HTTP/1.1 client, and aiohttp."""
