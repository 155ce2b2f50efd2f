"""The HTTP front: a request becomes a row of a micro-batch and gets a durable answer."""
