"""How each reference package's runs are asked of our designs, one package a file."""
