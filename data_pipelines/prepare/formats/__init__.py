"""The formats in which people keep corpora, each in a file of its own."""
