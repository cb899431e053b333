"""Linear solvers that know no physics and no cluster: conjugate gradients and aggregation multigrid."""
