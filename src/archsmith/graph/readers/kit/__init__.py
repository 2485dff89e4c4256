# Parts of readers: no family of its own.
"""The one tracer: a module run once, with every operator and every call of a module in it seen."""
