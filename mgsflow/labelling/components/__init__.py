"""Connected components of a phase, in memory and out of core, with ids that do not depend on the blocks."""
