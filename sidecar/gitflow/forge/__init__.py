"""Forges behind one port: where a pull request is opened, found and brought up to date."""
