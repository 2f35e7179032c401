"""Whole runs of engager beside other clients, against one endpoint on this machine."""
