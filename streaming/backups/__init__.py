"""Backups of the lake, of models' files and of databases' dumps, and their way back."""
