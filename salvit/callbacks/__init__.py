"""Lightning callbacks: configuration, scores, pictures and files of a run."""
