"""Git: the runner, the source reader, the journal (state branch) and the watcher."""
