"""Transport problems of a study as steps: where each is solved, and what it stores."""
