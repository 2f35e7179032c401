"""Files in, requests out: reading, templates, the wire formats, identity."""
