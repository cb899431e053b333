"""What a run will take: memory and disk of every step, and its time by a rehearsal."""
