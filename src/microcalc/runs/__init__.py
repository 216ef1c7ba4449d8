"""What a command does with whole data sets: recipes, training, simulating, inserting."""
