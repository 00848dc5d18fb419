"""Training corpora: scenes generated with known truth, and icons from npm packages under their names."""
