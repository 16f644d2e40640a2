"""A network as it is shown and compared: records of any format, what its weights hold, what differs between two."""
