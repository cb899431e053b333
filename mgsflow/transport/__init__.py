"""Transport through a phase: diffusion (tortuosity) and Stokes flow (permeability), with certificates."""
