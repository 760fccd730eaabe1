"""Sets of tasks, each read from the files that their authors publish, which are not part of this project."""
