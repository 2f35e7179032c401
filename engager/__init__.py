"""engager: one row of a file, one person engaged in an Altcraft automation scenario."""

__version__ = "0.1.0"
