"""The life of pods on virtual nodes: plan (pure), workers that act, the status writer."""
