"""Control data: requests, findings and states that processes share, in SQLite or PostgreSQL."""
