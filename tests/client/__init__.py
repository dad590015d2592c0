"""The real aiohttp client on real sockets."""
