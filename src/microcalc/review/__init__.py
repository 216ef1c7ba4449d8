"""Model-assisted annotation: a model proposes places, a person judges them, round by round."""
