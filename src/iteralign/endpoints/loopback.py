"""Which addresses are this machine's own."""

from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_here(url: str) -> bool:
    """Whether a server at this address is, as far as one can tell, on this machine."""
    return urlsplit(url).hostname in LOOPBACK
