"""The productions of Binary.md, one file for each kind of section and one function for each production.

Each function takes a `Reader` that stands at the production's first byte and leaves it behind its last one.
"""
