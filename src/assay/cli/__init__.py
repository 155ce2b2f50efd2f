"""The command line: one module a verb. Results go to stdout, a person's progress to stderr."""
