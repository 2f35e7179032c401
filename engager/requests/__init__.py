"""Rows to requests: templates, attachments, request ids, and the rules that leave rows out."""
