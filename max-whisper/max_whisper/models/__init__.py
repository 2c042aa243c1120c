"""Model families: a folder each, and the file formats that they share."""
