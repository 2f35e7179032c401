"""Requests in, outcomes out: the layers around a try, the limits, the truth table and the transports."""
