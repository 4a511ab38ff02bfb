"""Bundled data: a small real shop for the demo and the tests."""
