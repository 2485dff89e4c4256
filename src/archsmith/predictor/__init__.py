"""Performance predictors: fitted on (encoding, value) pairs, one method a file."""

ROLE = "predict a metric from an encoding"
