"""Sends requests by other processes, of this machine or of a cluster: to the rest of the run, a transport."""
