"""Input files to numbered rows: formats, compression, encodings, ranges."""
