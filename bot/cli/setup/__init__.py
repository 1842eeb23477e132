"""`toolbridge setup`: from a clone to a bot that answers, by questions or by flags."""
