"""Architecture encodings: rows of option indices to vectors, one method a file."""

ROLE = "turn architectures into vectors that predictors read"
