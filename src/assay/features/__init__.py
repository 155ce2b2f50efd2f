"""Batch + history → feature matrix: one definition, one kernel, for every runtime.

`definitions` says what a feature is, `default_set` which ones Assay ships, `plan` lays out the
state, `source` writes the kernel, `kernel` compiles and loads it, `state` holds the memory,
`fold` runs a stream of events through it.
"""
