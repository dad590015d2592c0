"""What the worker costs per row, beside a bare aiohttp loop, httpx and the official SDK (`scripts/bench`)."""
