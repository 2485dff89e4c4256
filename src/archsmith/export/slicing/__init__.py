# Parts of file formats: no family of its own.
"""Files of subnets cut out of the largest network's file."""
