"""A run of the workflow as a whole: what it made, what failed and why, and the summary that is written in the end."""
