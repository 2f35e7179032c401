"""Everything that is known or assumed of the Altcraft API, each assumption in one place."""
