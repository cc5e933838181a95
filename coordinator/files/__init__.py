"""Files: guarded YAML and Markdown in, values of the core out, and the hub's own files back to text."""
