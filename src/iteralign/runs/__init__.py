"""A whole run: settings become objects, objects go round, numbers and weights are left."""
