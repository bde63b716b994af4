"""Published sources, one a module: from the original files to tidy, validated tables and nothing else."""
