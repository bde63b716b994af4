"""What a panel must be: the rules by which panels are built, files are validated and the codebook is written."""
