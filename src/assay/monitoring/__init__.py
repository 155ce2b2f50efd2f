"""Journal → drift, key figures, alerts, and performance under late labels."""
