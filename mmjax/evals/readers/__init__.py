"""Official annotation files of the benchmarks, read into `Example`s.

A reader takes the paths of its files and gives examples; what is missing or malformed
is one ValueError that names the file and, where there is one, the record.
"""
