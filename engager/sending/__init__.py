"""Requests to outcomes: retry, admission, adaptive limits, and the transports below."""
