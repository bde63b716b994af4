"""Tables, and their renderings as LaTeX, HTML, Markdown and text."""
