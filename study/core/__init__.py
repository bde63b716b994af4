"""Arrays and algebra, errors, the cache and settings: what all rooms stand on."""
