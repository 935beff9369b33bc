"""The transformer between picture and triplane."""
