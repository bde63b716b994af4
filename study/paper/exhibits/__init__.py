"""The exhibits of the paper and of the report page: one a file, each a function of a setting with its decorator."""
