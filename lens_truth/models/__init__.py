"""Hooked models: loading, wrapping, checking, showing them text and images, and reading their weights."""
