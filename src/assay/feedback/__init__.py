"""Late truth: labels come in, find their transaction, and go into the scorer's stream."""
