"""What is kept beside the database: the home folder, who can read it, and how it is forgotten."""
