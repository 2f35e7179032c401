"""The files of outcomes: how a line looks, appending, and keeping what is whole of a damaged file."""
