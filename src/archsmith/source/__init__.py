"""Models as the user gave them: built, and made elastic."""

__all__ = ["building"]
