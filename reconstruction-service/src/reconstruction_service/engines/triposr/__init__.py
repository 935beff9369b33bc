"""Engine `triposr`: one picture through the network of that name."""
