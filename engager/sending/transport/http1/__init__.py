"""The transport of the hot path: HTTP/1.1 to one origin, over non-blocking sockets and a real parser."""
