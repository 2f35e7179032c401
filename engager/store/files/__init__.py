"""The files of outcomes: their formats, appending, and repair of a damaged file."""
