"""The demo: a fresh repository, a real hub, real sidecars, and an honest count of what came out."""
